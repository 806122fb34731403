import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import type { ChangeRule } from '@crossfade/changefeed'
import { hashValue, parseHeader } from '@crossfade/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade, { type Authenticate, type RouteOptions } from '../src/index.ts'
import { HandFeed } from './shop.ts'
import { Socket } from './socket.ts'

let app: FastifyInstance
let feed: HandFeed
let runs = 0
afterEach(() => app.close())

const rule: ChangeRule = {
  table: { schema: 'public', name: 'things', columns: [], routing: [] },
  ops: ['insert', 'update', 'delete'],
  params: () => ({}),
}

/** Requests are held only briefly here: a 304 without a run of the handler was held to the end. */
async function open(
  options: Partial<RouteOptions>,
  handler: (reply: FastifyReply) => unknown,
  maxHoldMs: number = 50,
): Promise<void> {
  feed = new HandFeed()
  runs = 0
  app = Fastify({ forceCloseConnections: true })
  const authenticate: Authenticate = ({ headers }) => (headers.authorization === undefined ? null : { id: 'ann' })
  await app.register(crossfade, { feed, authenticate, limits: { maxHoldMs } })
  const definition = { topic: 'thing', audience: 'public' as const, on: [rule], ...options }
  app.get('/thing', { config: { crossfade: definition } }, async (_request, reply) => {
    runs += 1
    return handler(reply)
  })
  await app.ready()
}

const get = (headers: Record<string, string> = {}) => app.inject({ url: '/thing', headers })
const hold = (etag: unknown) => get({ prefer: 'wait=20', 'if-none-match': String(etag) })
const change = () => feed.emit('things', { after: { id: 1 } })

/** The topic is live and has its value when a poll was held. */
async function expectHeld(etag: unknown): Promise<void> {
  const before = runs
  const answer = await hold(etag)
  expect(answer.statusCode).toBe(304)
  expect(answer.headers.etag).toBe(etag)
  expect(runs).toBe(before)
}

describe('a long poll of an endpoint (R12)', () => {
  it('is held while only a field differs that the route ignores, and no drift is seen in it', async () => {
    let version = 1
    await open({ ignore: ['/at'] }, () => ({ version, at: runs }))
    const { headers } = await hold((await get()).headers.etag)
    await expectHeld(headers.etag)
    const plain = await get()
    expect(plain.headers.etag).toBe(headers.etag)
    // The tag says that nothing has changed, the hash what was sent (R10).
    expect(parseHeader(String(plain.headers['crossfade']))?.hash).toBe(hashValue(plain.json()))
    expect((await get({ 'if-none-match': String(headers.etag) })).statusCode).toBe(304)
    version = 2
    await change()
    const changed = await hold(headers.etag)
    expect(changed.json()).toMatchObject({ version: 2 })
  })

  it('whose answer differs only in ignored fields lets a client subscribe from there, and patches nothing (R6)', async () => {
    let version = 1
    await open({ ignore: ['/at'] }, () => ({ version, at: runs }))
    const socket = await Socket.greet(await app.listen({ host: '127.0.0.1', port: 0 }))
    await hold((await get()).headers.etag)
    const { cursor = '', hash = '' } = parseHeader(String((await get()).headers['crossfade'])) ?? {}
    const before = runs
    socket.send({ type: 'subscribe', id: 'a', topic: 'thing', cursor, hash })
    expect(await socket.next('subscribed')).toMatchObject({ recovered: true, cursor })
    socket.send({ type: 'ping', n: 1 })
    await socket.next('heartbeat')
    expect(runs).toBe(before)
    version = 2
    await change()
    expect(await socket.next('event')).toMatchObject({ event: 'snapshot', data: { version: 2 } })
    socket.close()
  })

  it('is not held while the topic is stale, since nobody knows what has changed (R55)', async () => {
    let version = 1
    let failing = false
    await open({}, (reply) => (failing && reply.request.crossfade !== null ? reply.code(503).send({}) : { version }))
    const socket = await Socket.greet(await app.listen({ host: '127.0.0.1', port: 0 }))
    socket.send({ type: 'subscribe', id: 'a', topic: 'thing' })
    await socket.next('event')
    const { etag } = (await get()).headers
    await expectHeld(etag)
    failing = true
    await change()
    await socket.next('stale')
    version = 2
    expect((await hold(etag)).json()).toEqual({ version: 2 })
    socket.close()
  })

  it('that began before a revocation delivers nothing from after it (R14, D10)', async () => {
    let version = 1
    await open({ audience: 'principal' }, () => ({ version }), 60_000)
    const authorization = 'Bearer ann'
    const { etag } = (await get({ authorization })).headers
    const held = get({ authorization, prefer: 'wait=60', 'if-none-match': String(etag) })
    await expect
      .poll(async () => (await app.inject('/crossfade/health')).json<{ connections: number }>().connections)
      .toBe(1)
    await app.crossfade.revoke('ann')
    version = 2
    await change()
    const { statusCode, headers, body } = await held
    expect({ statusCode, etag: headers.etag, body }).toEqual({ statusCode: 304, etag, body: '' })
    expect(headers['crossfade']).toBeUndefined()
    expect((await get({ authorization })).json()).toEqual({ version: 2 })
  })

  it("is held for the endpoint's own tag", async () => {
    let version = 1
    await open({}, (reply) => reply.header('etag', `"v${version}"`).send({ version }))
    await hold('"v1"')
    await expectHeld('"v1"')
    version = 2
    await change()
    const changed = await hold('"v1"')
    expect(changed.statusCode).toBe(200)
    expect(changed.headers.etag).toBe('"v2"')
    await hold('"v2"')
    await expectHeld('"v2"')
  })

  it('is held when the last subscriber left while a load was pending', async () => {
    let version = 1
    let pass: () => void = () => {}
    let gate = Promise.resolve()
    await open({}, async () => {
      const read = version
      await gate
      return { version: read }
    })
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const socket = await Socket.greet(origin)
    socket.send({ type: 'subscribe', id: 'x', topic: 'thing' })
    await socket.next('event')
    gate = new Promise((resolve) => (pass = resolve))
    const before = runs
    version = 2
    await change()
    await expect.poll(() => runs).toBe(before + 1)
    version = 3
    await change()
    socket.send({ type: 'unsubscribe', id: 'x' })
    await socket.next('unsubscribed')
    pass()
    const { headers } = await get()
    await hold(headers.etag)
    await expectHeld(headers.etag)
  })
})
