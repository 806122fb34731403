import { setInterval as every } from 'node:timers/promises'
import { CrossfadeError, parseHeader } from '@crossfade/protocol'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade, { type CrossfadeOptions } from '../src/index.ts'
import { as, until } from './endpoints.ts'
import { ofType } from './shop.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'

let app: FastifyInstance
let origin: string
/** What was logged, by level. */
let logged: { level: number; msg: string }[]
let versions: Record<string, number>
/** What the endpoint answers instead, if anything. */
let instead: ((request: FastifyRequest, reply: FastifyReply) => unknown) | null
const stop = new Set<() => void>()
afterEach(async () => {
  for (const end of stop) end()
  stop.clear()
  await app.close()
})

const [warning, error] = [40, 50]
const tenantOf = (authorization: unknown): string => String(authorization).replace('Bearer ', '').split('-')[0] ?? ''

/** Two tenants that share a group by a claim that is wrong but well formed, or that have their own groups. */
async function open(group: 'wrong' | 'right', options: CrossfadeOptions = {}): Promise<void> {
  logged = []
  versions = { a: 1, b: 1 }
  instead = null
  const stream = { write: (line: string) => void logged.push(JSON.parse(line) as (typeof logged)[0]) }
  app = Fastify({ forceCloseConnections: true, logger: { level: 'warn', stream } })
  await app.register(crossfade, {
    authenticate: ({ headers }) => {
      if (headers.authorization === undefined) throw new CrossfadeError('unauthenticated', 'Log in.')
      const id = String(headers.authorization).replace('Bearer ', '')
      return { id, plan: 'gold', tenant: tenantOf(headers.authorization) }
    },
    grantMs: 50,
    reauthorizeMs: 200,
    rollout: { board: { stage: 'push' } },
    ...options,
  })
  const claim = group === 'wrong' ? 'plan' : 'tenant'
  const crossfadeOptions = {
    topic: 'board',
    feature: 'board',
    audience: { group: (who: Record<string, unknown>) => String(who[claim]) },
    ignore: ['/at'],
  }
  app.get('/board', { config: { crossfade: crossfadeOptions } }, async (request, reply) => {
    const other = instead?.(request, reply)
    if (other !== undefined) return other
    const tenant = tenantOf(request.headers.authorization)
    return { owner: `tenant ${tenant}`, version: versions[tenant], at: Math.random() }
  })
  origin = await app.listen({ host: '127.0.0.1', port: 0 })
}

async function change(tenant: string): Promise<void> {
  versions[tenant] = (versions[tenant] ?? 0) + 1
  app.crossfade.invalidate('board')
  await Promise.resolve()
}

async function subscribed(token: string): Promise<Socket> {
  const socket = await Socket.greet(origin, token)
  socket.send({ type: 'subscribe', id: 'b', topic: 'board' })
  return socket
}

const poll = async (token: string, wait = 0): Promise<string> => {
  const payload = { topics: { board: {} }, wait }
  return (await app.inject({ method: 'POST', url: '/crossfade/poll', headers: as(token), payload })).payload
}

/** Keeps changing a tenant's board; each change is delivered 50 ms after it is made, as by a feed. */
function keepChanging(tenant: string, next: () => number): void {
  const abort = new AbortController()
  stop.add(() => abort.abort())
  void (async () => {
    try {
      for await (const _ of every(50, null, { signal: abort.signal })) {
        versions[tenant] = next()
        setTimeout(() => app.crossfade.invalidate('board'), 50)
      }
    } catch {
      // The test is over.
    }
  })()
}

const ends = (): string[] => logged.filter(({ level }) => level === error).map(({ msg }) => msg)

describe('a group that is the same for two tenants (D16)', () => {
  it('shows neither tenant a byte of the other on any transport, is no longer shared, and is reported once', async () => {
    await open('wrong')
    const a = await subscribed('a-1')
    expect(await a.next('event')).toMatchObject({ data: { owner: 'tenant a' } })
    const { etag } = (await app.inject({ url: '/board', headers: as('a-1') })).headers
    const b = await subscribed('b-1')
    const stream = await Stream.open(`${origin}/crossfade/sse?topic=board`, { headers: as('b-2') })
    const native = await Stream.open(`${origin}/board`, { headers: { ...as('b-3'), accept: 'text/event-stream' } })
    const polls = [await poll('b-4'), await poll('b-5', 300)]
    const held = await app.inject({
      url: '/board',
      headers: { ...as('b-6'), prefer: 'wait=1', 'if-none-match': etag as string },
    })
    expect(held.json()).toMatchObject({ owner: 'tenant b' })
    expect(await a.next('unsubscribed')).toMatchObject({ topic: 'board', code: 'forbidden' })
    await until(() => ofType(b.messages, 'error').length === 1)
    await change('a')
    polls.push(await poll('b-4'))
    for (const text of [JSON.stringify(b.messages), stream.text, native.text, ...polls, held.payload])
      expect(text).not.toContain('tenant a')
    expect(JSON.stringify(a.messages)).not.toContain('tenant b')
    expect(ends()).toHaveLength(1)
    expect(ends()[0]).toMatch(/"board".*\/board.*group/)
    for (const reader of [stream, native]) reader.close()
  })

  it('is not loaded with the credentials of a client that is only about to join, when those of the others have expired', async () => {
    let expiresAt = Infinity
    await open('wrong', {
      expiryGraceMs: 60_000,
      authenticate: ({ headers }) => {
        const id = String(headers.authorization).replace('Bearer ', '')
        return { id, plan: 'gold', ...(id === 'a-1' ? { expiresAt } : {}) }
      },
    })
    expiresAt = Date.now() + 2_000
    const a = await subscribed('a-1')
    expect(await a.next('event')).toMatchObject({ data: { owner: 'tenant a' } })
    await until(() => Date.now() > expiresAt)
    const shown: string[] = []
    for (let n = 1; n <= 3; n++) {
      shown.push(await poll(`b-${n}`))
      a.send({ type: 'ping', n })
      await until(() => ofType(a.messages, 'heartbeat').some((beat) => beat.n === n))
    }
    expect(JSON.stringify(a.messages)).not.toContain('tenant b')
    expect(shown.join('')).not.toContain('tenant a')
  })

  it('continues by polling for its clients: their answers are their own, and promise no push', async () => {
    await open('wrong')
    const a = await subscribed('a-1')
    await a.next('event')
    expect(
      parseHeader(String((await app.inject({ url: '/board', headers: as('a-1') })).headers['crossfade'])),
    ).not.toBeNull()
    const b = await subscribed('b-1')
    await b.next('error')
    for (const tenant of ['a', 'b']) {
      await change(tenant)
      const plain = await app.inject({ url: '/board', headers: as(`${tenant}-1`) })
      expect(plain.json()).toMatchObject({ owner: `tenant ${tenant}`, version: 2 })
      expect(plain.headers['crossfade']).toBeUndefined()
    }
    // Nobody can subscribe to it again.
    a.send({ type: 'subscribe', id: 'again', topic: 'board' })
    expect(await a.next('error')).toMatchObject({ id: 'again', code: 'forbidden' })
  })

  it('shows nothing while one of them changes all the time, and says that it cannot be compared', async () => {
    await open('wrong')
    const a = await subscribed('a-1')
    await a.next('event')
    keepChanging('a', () => (versions['a'] as number) + 1)
    await until(() => ofType(a.messages, 'event').length > 3)
    const readers = await Promise.all(['b-1', 'b-2', 'b-3'].map((token) => subscribed(token)))
    const codes = await Promise.all(readers.map(async (reader) => (await reader.next('error')).code))
    expect(codes.every((code) => code === 'overloaded' || code === 'server_error' || code === 'forbidden')).toBe(true)
    for (const { messages } of readers) expect(JSON.stringify(messages)).not.toContain('tenant a')
    const warned = logged.filter(({ level, msg }) => level === warning && msg.includes('"board"'))
    expect(warned.length + ends().length).toBe(1)
  })

  it("never reads one tenant's value with another's credentials, even while no valid ones are available", async () => {
    await open('wrong', {
      expiryGraceMs: 60_000,
      reauthorizeMs: 1_000_000,
      authenticate: ({ headers }) => {
        const id = String(headers.authorization).replace('Bearer ', '')
        return { id, plan: 'gold', ...(id === 'a-short' ? { expiresAt } : {}) }
      },
    })
    const expiresAt = Date.now() + 300
    const a = await subscribed('a-short')
    await a.next('event')
    await until(() => Date.now() > expiresAt)
    const b = await subscribed('b-1')
    await change('a')
    expect(await a.next('stale')).toMatchObject({ topic: 'board', reason: 'unverified' })
    await b.next('error')
    await change('b')
    a.send({ type: 'ping', n: 1 })
    await a.next('heartbeat')
    expect(JSON.stringify(a.messages)).not.toContain('tenant b')
    expect(JSON.stringify(b.messages)).not.toContain('tenant a')
  })

  it("lets no suspended client continue with another's value because its own request is answered", async () => {
    await open('wrong', { reauthorizeMs: 1_000_000, grantMs: 1_000_000 })
    const a = await subscribed('a-1')
    await a.next('event')
    let loadsByOther = 0
    instead = ({ crossfade: kind, headers }, reply) => {
      if (kind !== null && tenantOf(headers.authorization) === 'a') return reply.code(503).send({})
      if (kind === 'load') loadsByOther += 1
      return undefined
    }
    await app.crossfade.revoke('a-1')
    expect(await a.next('stale')).toMatchObject({ reason: 'unverified' })
    // Nobody else listens: the value is read as the other's from now on, when its turn comes to be loaded.
    const b = await subscribed('b-1')
    await change('b')
    await until(() => loadsByOther > 0)
    for (let tries = 0; ofType(b.messages, 'event').length === 0 && tries < 10; tries++) {
      b.send({ type: 'subscribe', id: `b${tries}`, topic: 'board' })
      await until(() => ofType(b.messages, 'event').length > 0 || ofType(b.messages, 'error').length > tries)
    }
    expect(ofType(b.messages, 'event')[0]).toMatchObject({ data: { owner: 'tenant b' } })
    expect((await app.inject({ url: '/board', headers: as('a-1') })).json()).toMatchObject({ owner: 'tenant a' })
    a.send({ type: 'ping', n: 1 })
    await a.next('heartbeat')
    expect(JSON.stringify(a.messages)).not.toContain('tenant b')
    instead = null
    expect(await a.next('unsubscribed')).toMatchObject({ topic: 'board' })
    expect(JSON.stringify(a.messages)).not.toContain('tenant b')
    expect(JSON.stringify(b.messages)).not.toContain('tenant a')
  })
})

describe('a group that is right', () => {
  it.each(['counts up', 'goes to and fro'])(
    'is shared on while it changes 20 times a second, told 50 ms later: it %s',
    async (how) => {
      await open('right')
      const readers = [await subscribed('a-1')]
      await readers[0]?.next('event')
      let n = 1
      keepChanging('a', () => (how === 'counts up' ? (n += 1) : (n = 3 - n)))
      for (const user of [2, 3, 4, 5]) readers.push(await subscribed(`a-${user}`))
      for (const [index, reader] of readers.entries()) {
        // Who cannot be compared at once asks again, as every client does.
        for (let tries = 0; ofType(reader.messages, 'subscribed').length === 0 && tries < 20; tries++) {
          await until(
            () =>
              reader.messages.some(({ type }) => type === 'subscribed') ||
              ofType(reader.messages, 'error').length > tries,
          )
          if (ofType(reader.messages, 'subscribed').length === 0)
            reader.send({ type: 'subscribe', id: `b${tries}`, topic: 'board' })
        }
        expect([index, ofType(reader.messages, 'subscribed').length]).toEqual([index, 1])
      }
      // Each is checked again a few times, and each gets the changes that follow.
      const heard = readers.map(({ messages }) => ofType(messages, 'event').length)
      await until(
        () => readers.every(({ messages }, index) => ofType(messages, 'event').length > (heard[index] as number) + 20),
        20_000,
      )
      for (const { messages } of readers) expect(ofType(messages, 'unsubscribed')).toEqual([])
      expect(ends()).toEqual([])
    },
    40_000,
  )

  it('is joined also while its value is another every few milliseconds: two who ask at the same time get the same', async () => {
    await open('right')
    instead = () => ({ version: Math.floor(performance.now() / 15) })
    const a = await subscribed('a-1')
    await a.next('event')
    for (const user of [2, 3, 4]) {
      const more = await subscribed(`a-${user}`)
      await until(() => more.messages.some(({ type }) => type === 'subscribed' || type === 'error'))
      expect(ofType(more.messages, 'error')).toEqual([])
    }
  })

  it('is not found to differ by a change that went to and fro, and is told only later', async () => {
    await open('right', { reauthorizeMs: 1_000_000 })
    const a = await subscribed('a-1')
    await a.next('event')
    let reads = 0
    instead = ({ crossfade: kind, headers }) => {
      if (kind !== 'check' || headers.authorization !== 'Bearer a-2' || (reads += 1) > 2) return undefined
      setTimeout(() => app.crossfade.invalidate('board'), 50)
      return { owner: 'tenant a', version: 2 }
    }
    const more = await subscribed('a-2')
    await more.next('subscribed')
    expect(reads).toBe(3)
    expect(ofType(a.messages, 'unsubscribed')).toEqual([])
    expect(ends()).toEqual([])
  })

  it('shows each tenant its own value, and the checks of one do not affect the other', async () => {
    await open('right')
    const [a, b] = [await subscribed('a-1'), await subscribed('b-1')]
    const [more, others] = [await subscribed('a-2'), await subscribed('b-2')]
    for (const reader of [a, more]) expect(await reader.next('event')).toMatchObject({ data: { owner: 'tenant a' } })
    for (const reader of [b, others]) expect(await reader.next('event')).toMatchObject({ data: { owner: 'tenant b' } })
    await change('a')
    for (const reader of [a, more]) await reader.next('event')
    expect(ends()).toEqual([])
  })

  it('does not differ by fields that are ignored (R10)', async () => {
    await open('right')
    const a = await subscribed('a-1')
    await a.next('event')
    // Its answer has another time than the value that is shared.
    const more = await subscribed('a-2')
    await more.next('subscribed')
    expect(ends()).toEqual([])
  })
})
