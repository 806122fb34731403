import { CrossfadeError } from '@crossfade/protocol'
import Fastify, { type FastifyServerOptions } from 'fastify'
import { afterEach, expect, it, vi } from 'vitest'
import crossfade from '../src/index.ts'
import { recordLog } from './log.ts'
import { StateFeed } from './state-feed.ts'

afterEach(() => vi.restoreAllMocks())

async function open(options: FastifyServerOptions): Promise<string[]> {
  const printed: string[] = []
  vi.spyOn(console, 'error').mockImplementation((...parts: unknown[]) => void printed.push(parts.join(' ')))
  const app = Fastify(options)
  const down = new CrossfadeError('feed_unavailable', 'The database at db/shop cannot be followed: ECONNREFUSED.')
  await app.register(crossfade, { feed: new StateFeed(down) })
  await app.ready()
  await app.close()
  return printed
}

it('tells errors on the console where the application has no logger: a feed that cannot start is not silent (D17)', async () => {
  expect(await open({})).toEqual([expect.stringMatching(/the feed cannot follow its source.*ECONNREFUSED/)])
})

it('tells them to the logger alone where there is one, and to nobody where that is silent', async () => {
  const log = recordLog()
  expect(await open({ logger: log.logger })).toEqual([])
  expect(log.of('error')).toHaveLength(1)
  expect(await open({ logger: { level: 'silent' } })).toEqual([])
})
