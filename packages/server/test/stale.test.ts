import fastifyRateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade, { type CrossfadeOptions } from '../src/index.ts'
import { never, until, versionsOf, type Handler } from './endpoints.ts'
import { recordLog, type RecordedLog } from './log.ts'
import { ofType } from './shop.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'

let app: FastifyInstance
let origin: string
let log: RecordedLog
let version: number
let trouble: Handler | null
/** When the loads of `/things/1` began. */
let loads: number[]
const readers: { close(): void }[] = []
afterEach(async () => {
  for (const reader of readers.splice(0)) reader.close()
  await app.close()
})

interface Settings extends CrossfadeOptions {
  readonly after?: number[]
  /** What the handler reads, in place of the version. */
  readonly read?: () => unknown
  readonly before?: (app: FastifyInstance) => Promise<unknown>
}

async function open({ after, read, before, ...options }: Settings = {}): Promise<void> {
  version = 1
  trouble = null
  loads = []
  log = recordLog('info')
  app = Fastify({ forceCloseConnections: true, logger: log.logger })
  await before?.(app)
  await app.register(crossfade, { grantMs: never, reauthorizeMs: never, loadTimeoutMs: 200, ...options })
  const topic = {
    topic: 'things/:id',
    audience: 'public',
    ...(after === undefined ? {} : { reload: { after } }),
  } as const
  app.get('/things/:id', { config: { crossfade: topic } }, async (request: FastifyRequest, reply: FastifyReply) => {
    if (request.crossfade === 'load' && request.url === '/things/1') loads.push(performance.now())
    return trouble === null ? { version: read?.() ?? version } : trouble(request, reply)
  })
  app.crossfade.log('markers', { public: true })
  origin = await app.listen({ host: '127.0.0.1', port: 0 })
}

async function subscribed(topic = 'things/1'): Promise<Socket> {
  const socket = await Socket.greet(origin)
  readers.push(socket)
  socket.send({ type: 'subscribe', id: topic, topic })
  await socket.next('subscribed')
  return socket
}

function change(id = 1): void {
  version += 1
  app.crossfade.invalidate(`things/${id}`)
}

const fails =
  (status: number, headers: Record<string, string> = {}): Handler =>
  (_, reply) =>
    reply.code(status).headers(headers).send({ error: 'secret of the upstream' })

const typesOf = ({ messages }: Pick<Socket, 'messages'>): string[] =>
  messages.flatMap(({ type }) => (['event', 'stale', 'fresh', 'unsubscribed'].includes(type) ? [type] : []))

describe('a value that cannot be loaded (R55, D12)', () => {
  it('is reported as stale once, and as fresh after its newest value, on WebSocket and SSE', async () => {
    await open()
    const socket = await subscribed()
    const stream = await Stream.open(`${origin}/crossfade/sse`, { body: { topics: { 'things/1': {} } } })
    const native = await Stream.open(`${origin}/things/1`, { headers: { accept: 'text/event-stream' } })
    readers.push(stream, native)
    await until(() => [socket, stream, native].every(({ messages }) => ofType(messages, 'event').length === 1))
    const since = Date.now()
    trouble = fails(503)
    change()
    for (const { messages } of [socket, stream, native]) {
      await until(() => ofType(messages, 'stale').length === 1)
      const [stale] = ofType(messages, 'stale')
      expect(stale).toMatchObject({ topic: 'things/1', reason: 'endpoint_failed' })
      expect(stale?.since).toBeGreaterThanOrEqual(since - 5)
      expect(stale?.since).toBeLessThanOrEqual(Date.now())
      expect(JSON.stringify(messages)).not.toContain('secret')
    }
    const failed = loads.length
    await until(() => loads.length > failed + 2)
    trouble = null
    for (const reader of [socket, stream, native]) {
      await until(() => ofType(reader.messages, 'fresh').length === 1)
      expect(typesOf(reader)).toEqual(['event', 'stale', 'event', 'fresh'])
      expect(ofType(reader.messages, 'fresh')[0]?.cursor).toBe(ofType(reader.messages, 'event').at(-1)?.cursor)
    }
  })

  it('is reported as fresh although nothing has changed, and with another reason when that changes', async () => {
    await open()
    const socket = await subscribed()
    trouble = fails(503)
    app.crossfade.invalidate('things/1')
    await socket.next('stale')
    trouble = fails(429)
    expect(await socket.next('stale')).toMatchObject({ reason: 'rate_limited' })
    trouble = null
    expect(await socket.next('fresh')).toMatchObject({ topic: 'things/1' })
    expect(typesOf(socket)).toEqual(['event', 'stale', 'stale', 'fresh'])
  })

  it('is told to a client that comes meanwhile, after subscribed, with the last good value', async () => {
    await open()
    const first = await subscribed()
    trouble = fails(500)
    change()
    await first.next('stale')
    const late = await subscribed()
    await late.next('stale')
    const types = late.messages.map(({ type }) => type).filter((type) => type !== 'hello' && type !== 'stage')
    expect(types).toEqual(['subscribed', 'event', 'stale'])
    expect(versionsOf(late.messages, 'things/1')).toEqual([1])
  })

  it('is told to a client that comes after the last subscriber has left, with the last good value', async () => {
    await open()
    const first = await subscribed()
    trouble = fails(503)
    app.crossfade.invalidate('things/1')
    await first.next('stale')
    first.send({ type: 'unsubscribe', id: 'things/1' })
    await first.next('unsubscribed')
    // What was planned is tried once more, and then nothing for nobody.
    const tried = loads.length
    await until(() => loads.length > tried)
    const late = await subscribed()
    await late.next('stale')
    expect(ofType(late.messages, 'error')).toEqual([])
    expect(versionsOf(late.messages, 'things/1')).toEqual([1])
  })

  it('is one warning for each route and status, and then counted, whatever its topics do', async () => {
    await open()
    const sockets = await Promise.all([1, 2, 3].map((id) => subscribed(`things/${id}`)))
    // One of them works all the time.
    trouble = (request, reply) => (request.url === '/things/3' ? { version } : fails(503)(request, reply))
    for (let n = 0; n < 5; n++) {
      for (const id of [1, 2, 3]) change(id)
      const [, , well] = sockets as [Socket, Socket, Socket]
      const { version: now } = { version }
      await until(() => versionsOf(well.messages, 'things/3').at(-1) === now)
    }
    await until(() => loads.length >= 4)
    expect(log.of('warn').filter((line) => line.includes('503'))).toHaveLength(1)
    expect(log.of('info').filter((line) => line.includes('loaded again'))).toEqual([])
    trouble = (request, reply) => (request.url === '/things/3' ? { version } : fails(500)(request, reply))
    await until(() => log.of('warn').length === 2)
    trouble = null
    for (const socket of sockets.slice(0, 2)) await socket.next('fresh')
    await until(() => log.of('info').some((line) => line.includes('loaded again')))
    // It comes and goes: that is not logged within the minute.
    for (let n = 0; n < 3; n++) {
      trouble = fails(503)
      change()
      await sockets[0]?.next('stale')
      trouble = null
      await sockets[0]?.next('fresh')
    }
    expect(log.of('warn')).toHaveLength(2)
    expect(log.of('info').filter((line) => line.includes('loaded again'))).toHaveLength(1)
    expect(log.of('warn').join()).not.toContain('secret')
  }, 20_000)

  it('is not asked again before its Retry-After has passed', async () => {
    await open()
    const socket = await subscribed()
    trouble = fails(429, { 'retry-after': '1' })
    change()
    await socket.next('stale')
    const failedAt = loads.at(-1) as number
    for (let n = 0; n < 20; n++) change()
    const late = await subscribed()
    await late.next('stale')
    trouble = null
    await socket.next('fresh')
    // A timer may fire a millisecond early.
    expect((loads.at(-1) as number) - failedAt).toBeGreaterThanOrEqual(990)
    expect(loads.length).toBe(3)
    expect(versionsOf(socket.messages, 'things/1').at(-1)).toBe(version)
  })

  it('is retried with growing pauses, not in a tight loop', async () => {
    await open()
    const socket = await subscribed()
    trouble = fails(503)
    change()
    await socket.next('stale')
    const from = performance.now()
    await until(() => performance.now() - from > 2_500)
    // Full jitter: 0.25, 0.5, 1, 2 s … on average. A loop would be thousands.
    expect(loads.length).toBeLessThan(30)
  })

  it('because the application limits its rate is stale meanwhile, and shows the last of 450 writes in the end', async () => {
    await open({ before: async (server) => server.register(fastifyRateLimit, { max: 50, timeWindow: 1_000 }) })
    const socket = await subscribed()
    await socket.next('event')
    for (let n = 0; n < 450; n++) {
      change()
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until(() => ofType(socket.messages, 'stale').length > 0)
    expect(ofType(socket.messages, 'stale')[0]).toMatchObject({ topic: 'things/1', reason: 'rate_limited' })
    await until(() => versionsOf(socket.messages, 'things/1').at(-1) === 451, 15_000)
    await until(() => typesOf(socket).at(-1) === 'fresh')
    expect(log.of('warn').filter((line) => line.includes('429') && line.includes('request.crossfade'))).toHaveLength(1)
  }, 20_000)
})

describe('a handler that reads from a copy that lags behind the database (C20)', () => {
  const lagMs = 150
  /** What a copy shows that lags by this much. */
  function copy(): { write: (value: number) => void; read: () => number } {
    let shown = 1
    return {
      write: (value) => void setTimeout(() => (shown = value), lagMs),
      read: () => shown,
    }
  }

  it('is asked again, so that the last change is told', async () => {
    const { write, read } = copy()
    await open({ after: [100, 300], read })
    const socket = await subscribed()
    await socket.next('event')
    for (const value of [2, 3, 4]) {
      write(value)
      app.crossfade.invalidate('things/1')
    }
    await until(() => versionsOf(socket.messages, 'things/1').at(-1) === 4)
    // The same again, when nothing is pending any more.
    write(5)
    app.crossfade.invalidate('things/1')
    await until(() => versionsOf(socket.messages, 'things/1').at(-1) === 5)
    expect(versionsOf(socket.messages, 'things/1')).toEqual([1, 4, 5])
  })

  it('delivers a change from just before the first subscription, and one from a time without subscribers', async () => {
    const { write, read } = copy()
    await open({ after: [100, 300], read })
    write(2)
    app.crossfade.invalidate('things/1')
    const socket = await subscribed()
    expect(await socket.next('event')).toMatchObject({ data: { version: 1 } })
    await until(() => versionsOf(socket.messages, 'things/1').at(-1) === 2)
    socket.send({ type: 'unsubscribe', id: 'things/1' })
    await socket.next('unsubscribed')
    write(3)
    app.crossfade.invalidate('things/1')
    const late = await subscribed()
    await until(() => versionsOf(late.messages, 'things/1').at(-1) === 3)
  })

  it('is not asked again once the server has closed, and costs nothing where nothing changes', async () => {
    await open({ after: [50], read: () => 1 })
    const socket = await subscribed()
    await socket.next('event')
    await until(() => loads.length === 2)
    const other = await subscribed('things/2')
    await other.next('event')
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(loads.length).toBe(2)
    app.crossfade.invalidate('things/1')
    await until(() => loads.length === 3)
    await app.close()
    const closed = loads.length
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(loads.length).toBe(closed)
  })
})
