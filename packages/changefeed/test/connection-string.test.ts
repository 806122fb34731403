import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { postgresReplication } from '../src/postgres-replication.ts'
import { isSourceFailure } from '../src/index.ts'

const secret = 'top5ecret'

describe('a connection string', () => {
  it.each([
    `postgres://me:${secret}#1@db.example/shop`,
    `postgres://me:${secret}/1@db.example/shop`,
    `postgres://me:1/${secret}@db.example/shop`,
    `postgres://me:1?${secret}@db.example/shop`,
    `postgres://me:1#${secret}@db.example/shop`,
    `mysql://me:${secret}@db.example/shop`,
    '',
    undefined,
  ])('that cannot be one is a mistake in code, and the password is not revealed: case %#', (connectionString) => {
    let error: unknown
    try {
      postgresReplication({ connectionString: connectionString as string, slot: 's' })
    } catch (thrown) {
      error = thrown
    }
    expect(error).toMatchObject({ code: 'invalid_options' })
    expect(isSourceFailure(error)).toBe(false)
    expect(inspect(error, { depth: null })).not.toContain(secret)
  })

  it.each(['127.0.0.1:1/shop', 'no-such-host.invalid/shop?sslmode=disable'])(
    'of a missing database is reported without its password: %s',
    async (place) => {
      const logged: unknown[] = []
      const log = (message: unknown): void => void logged.push(message)
      const feed = postgresReplication({
        connectionString: `postgres://me:${secret}@${place}`,
        slot: 's',
        logger: { info: log, warn: log, error: log },
      })
      const error: unknown = await feed.start(() => Promise.resolve()).catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'feed_unavailable' })
      expect(isSourceFailure(error)).toBe(true)
      expect(inspect([error, logged, feed.status?.()], { depth: null, showHidden: true })).not.toContain(secret)
    },
  )
})

describe('an error of a feed', () => {
  it('is a failure of the source unless it is a mistake in code (D17)', () => {
    expect(isSourceFailure(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))).toBe(true)
    expect(isSourceFailure(new AggregateError([], ''))).toBe(true)
    expect(isSourceFailure(new TypeError('x is not a function'))).toBe(false)
  })
})
