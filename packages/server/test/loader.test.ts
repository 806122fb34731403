import { afterEach, describe, expect, it } from 'vitest'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { hashValue, type EventMessage } from '@crossfade/protocol'
import type { ChangeRule } from '@crossfade/changefeed'
import crossfade, { memoryBroker, type CrossfadeOptions } from '../src/index.ts'
import { FlushCycle } from '../src/delivery/flush-cycle.ts'
import { identityOf } from '../src/identity/principal.ts'
import { routeDefinition } from '../src/endpoints/definition.ts'
import { ValueTopic } from '../src/topics/value-topic.ts'
import { HandFeed, ofType } from './shop.ts'
import { Socket } from './socket.ts'

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

let app: FastifyInstance
let feed: HandFeed
let origin: string
/** What the endpoint does: a test changes it as it goes. */
let handler: Handler
afterEach(() => app.close())

const rule: ChangeRule = {
  table: { schema: 'public', name: 'things', columns: [], routing: [] },
  ops: ['insert', 'update', 'delete'],
  params: (row) => ({ id: String(row['id']) }),
}

async function open(options: CrossfadeOptions = {}): Promise<void> {
  feed = new HandFeed()
  app = Fastify({ forceCloseConnections: true })
  await app.register(crossfade, { feed, loadTimeoutMs: 200, ...options })
  app.get(
    '/things/:id',
    { config: { crossfade: { topic: 'things/:id', audience: 'public', on: [rule] } } },
    async (request, reply) => handler(request, reply),
  )
  origin = await app.listen({ host: '127.0.0.1', port: 0 })
}

const change = (position?: number): Promise<number> => feed.emit('things', { after: { id: 1 } }, position)

async function subscriber(): Promise<Socket> {
  const socket = await Socket.greet(origin)
  socket.send({ type: 'subscribe', id: 'x', topic: 'things/1' })
  await socket.next('subscribed')
  await socket.next('event')
  return socket
}

/** The version in the newest snapshot or patch. */
function newest(socket: Socket): unknown {
  const event = ofType(socket.messages, 'event').at(-1) as EventMessage
  const { data } = event
  return event.event === 'patch' ? (data as { value: unknown }[])[0]?.value : (data as { v: unknown }).v
}

describe('a loader in trouble (D12)', () => {
  const troubles: [string, Handler, number][] = [
    ['throws', () => Promise.reject(new Error('database gone')), 500],
    ['answers 503', (_, reply) => reply.code(503).send({ busy: true }), 503],
    ['answers HTML', (_, reply) => reply.type('text/html').send('<p>maintenance</p>'), 200],
    ['calls text JSON', (_, reply) => reply.type('application/json').send('{"v": 2'), 200],
    ['answers 401', (_, reply) => reply.code(401).send({ error: 'login' }), 401],
    ['answers 403', (_, reply) => reply.code(403).send({ error: 'no' }), 403],
    [
      'nests without end',
      (_, reply) => reply.type('application/json').send('['.repeat(5_000) + ']'.repeat(5_000)),
      200,
    ],
  ]

  it.each(troubles)(
    'that %s keeps the last good value, retries, and the endpoint answers as it does',
    async (name, trouble, status) => {
      await open()
      handler = () => ({ v: 1 })
      const socket = await subscriber()
      let runs = 0
      handler = (request, reply) => {
        runs += 1
        return trouble(request, reply)
      }
      await change()
      await expect.poll(() => runs).toBeGreaterThan(1)
      // Those who come now get the last good value, if they may; the plain request gets what the endpoint says.
      const plain = await app.inject('/things/1')
      expect([plain.statusCode, plain.headers['crossfade']]).toEqual([status, undefined])
      expect(ofType(socket.messages, 'event').length).toBe(1)
      // A page of another type is the login page of those who may not read it.
      const ends = [401, 403].includes(status) || name === 'answers HTML' ? ['forbidden'] : []
      await expect.poll(() => ofType(socket.messages, 'unsubscribed').map(({ code }) => code)).toEqual(ends)
      handler = () => ({ v: 2 })
      const again = ends.length > 0 ? await subscriber() : socket
      await expect.poll(() => newest(again)).toBe(2)
    },
  )

  it('that hangs is given up, another follows, and its late answer is ignored', async () => {
    await open()
    handler = () => ({ v: 1 })
    const socket = await subscriber()
    let release = (): void => {}
    const hanging = new Promise<void>((resolve) => (release = resolve))
    handler = async () => {
      handler = () => ({ v: 3 })
      await hanging
      return { v: 2 }
    }
    await change()
    await expect.poll(() => newest(socket)).toBe(3)
    release()
    await expect.poll(async () => (await app.inject('/things/1')).json()).toEqual({ v: 3 })
    expect(ofType(socket.messages, 'event').length).toBe(2)
  })

  it('that answers 404 ends the topic, and its last value is no longer served', async () => {
    await open({ grantMs: 1_000_000 })
    handler = () => ({ v: 1 })
    const socket = await subscriber()
    const other = await subscriber()
    handler = (_, reply) => reply.code(404).send({ error: 'none' })
    await change()
    expect(await socket.next('unsubscribed')).toMatchObject({ code: 'gone', topic: 'things/1' })
    expect(await other.next('unsubscribed')).toMatchObject({ code: 'gone' })
    socket.send({ type: 'subscribe', id: 'y', topic: 'things/1' })
    expect(await socket.next('error')).toMatchObject({ id: 'y', code: 'forbidden' })
    handler = () => ({ v: 2 })
    socket.send({ type: 'subscribe', id: 'z', topic: 'things/1' })
    expect(await socket.next('event')).toMatchObject({ data: { v: 2 } })
  })

  it('never changes what a plain client gets, whatever is wrong (R10)', async () => {
    await open()
    const bodies = ['{"a":', 'null', '"text"', ' [1 , 2] ', '{"__proto__":{"a":1}}', '']
    for (const body of bodies) {
      handler = (_, reply) => reply.type('application/json').send(body)
      const answer = await app.inject('/things/1')
      expect([body, answer.statusCode, answer.payload]).toEqual([body, 200, body])
    }
  })
})

describe('a run of the endpoint', () => {
  it('does not come from this machine, so that local-only answers stay local (R14)', async () => {
    await open()
    handler = (request, reply) =>
      request.ip === '127.0.0.1' ? { v: 1 } : reply.code(403).send({ error: 'local only' })
    expect((await app.inject('/things/1')).statusCode).toBe(200)
    const socket = await Socket.greet(origin)
    socket.send({ type: 'subscribe', id: 'x', topic: 'things/1' })
    expect(await socket.next('error')).toMatchObject({ code: 'forbidden' })
  })
})

describe('a value topic and its source', () => {
  it('gives whoever comes the value after the last change, also where everybody left while it was loaded', async () => {
    let version = 1
    let pass: () => void = () => {}
    let gate = Promise.resolve()
    let runs = 0
    handler = async () => {
      const read = version
      runs += 1
      await gate
      return { v: read }
    }
    await open({ loadTimeoutMs: 60_000 })
    const socket = await subscriber()
    gate = new Promise((resolve) => (pass = resolve))
    const before = runs
    version = 2
    await change()
    await expect.poll(() => runs).toBe(before + 1)
    version = 3
    await change()
    socket.send({ type: 'unsubscribe', id: 'x' })
    await socket.next('unsubscribed')
    gate = Promise.resolve()
    pass()
    // The answer of before has been taken when the endpoint answers somebody else.
    expect((await app.inject('/things/1')).json()).toEqual({ v: 3 })
    const late = await Socket.greet(origin)
    late.send({ type: 'subscribe', id: 'x', topic: 'things/1' })
    expect(await late.next('event')).toMatchObject({ data: { v: 3 } })
  })

  it('shows the last change although the feed repeats an earlier one meanwhile (C2)', async () => {
    await open()
    handler = () => ({ v: 1 })
    const socket = await subscriber()
    handler = () => ({ v: 2 })
    await change()
    await change()
    await expect.poll(() => newest(socket)).toBe(2)
    // While the endpoint answers, the next change comes, and the feed starts again a little before where it was.
    let finish = (): void => {}
    const gate = new Promise<void>((resolve) => (finish = resolve))
    let runs = 0
    handler = async () => {
      runs += 1
      await gate
      return { v: runs === 1 ? 2.5 : 3 }
    }
    await change()
    await expect.poll(() => runs).toBe(1)
    await change()
    await change(1)
    finish()
    await expect.poll(() => newest(socket)).toBe(3)
  })

  it('stores nothing that was read before the feed lost changes, even without subscribers (C4)', async () => {
    let version = 1
    let pass: () => void = () => {}
    let gate = Promise.resolve()
    let runs = 0
    handler = async () => {
      const read = version
      runs += 1
      await gate
      return { v: read }
    }
    await open({ loadTimeoutMs: 5_000 })
    const first = await subscriber()
    gate = new Promise((resolve) => (pass = resolve))
    const before = runs
    version = 2
    await change()
    await expect.poll(() => runs).toBe(before + 1)
    first.send({ type: 'unsubscribe', id: 'x' })
    await first.next('unsubscribed')
    version = 3
    await feed.gap('lost')
    pass()
    const late = await subscriber()
    await expect.poll(() => newest(late)).toBe(3)
  })

  it('stores nothing that was read for a topic which was dropped meanwhile', async () => {
    await open()
    const broker = memoryBroker()
    let finish = (): void => {}
    const answered = new Promise<void>((resolve) => (finish = resolve))
    const address = {
      definition: routeDefinition('/things/:id', { topic: 'things/:id', audience: 'public' }),
      name: 'things/1',
      params: { id: '1' },
      key: 'things/1',
      headers: {},
    }
    const nobody = identityOf(null, {}, [])
    const topic = new ValueTopic(address, {
      broker,
      cycle: new FlushCycle(() => {}),
      report: () => {},
      service: { headers: {}, ip: null },
      run: async () => {
        await answered
        const answer = { text: '1', value: 1, hash: hashValue(1), tag: null, privateReason: null }
        return { kind: 'value', answer } as const
      },
      revocationSeq: () => 0,
      granted: () => {},
      grantedToRun: () => {},
      refused: () => {},
      refusedToRun: () => {},
      suspicious: () => {},
      loaded: () => {},
    })
    topic.opened(await broker.open('things/1', 'value', topic.listener()))
    const ready = topic.ready(nobody).catch((error: unknown) => error)
    topic.close()
    finish()
    expect(await ready).toMatchObject({ code: 'server_error' })
    const again = await broker.open('things/1', 'value', { entry: () => {}, reset: () => {} })
    expect(again.state().snapshot).toBeNull()
    await broker.close?.()
  })

  it('gives a client that cannot say what it holds the value, where a plain answer may have been older (R6, R8)', async () => {
    await open()
    handler = () => ({ v: 1 })
    const plain = await app.inject('/things/1')
    const cursor = /cursor="([^"]+)"/.exec(String(plain.headers['crossfade']))?.[1]
    // The change is committed, and the feed has not delivered it yet.
    handler = () => ({ v: 2 })
    const socket = await Socket.greet(origin)
    socket.send({ type: 'subscribe', id: 'x', topic: 'things/1', cursor })
    await socket.next('subscribed')
    await change()
    expect(await socket.next('event')).toMatchObject({ event: 'snapshot', data: { v: 2 } })
  })
})
