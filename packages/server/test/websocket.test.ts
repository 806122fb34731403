import websocket from '@fastify/websocket'
import { applyPatch, type PatchOperation } from '@crossfade/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { ofType, openShop, type Shop } from './shop.ts'
import { Socket } from './socket.ts'

let shop: Shop
let origin: string
beforeEach(async () => {
  shop = await openShop({
    limits: { messagesPerSecond: 20, messageBurst: 40, maxTopicsPerConnection: 5 },
  })
  origin = await shop.listen()
})
afterEach(() => shop.app.close())

describe('a WebSocket connection', () => {
  it('begins with hello and pushes values and events (R2, R30, R32)', async () => {
    const socket = await Socket.greet(origin, 'ann-token')
    socket.send(
      { type: 'subscribe', id: 'o', topic: 'orders/1' },
      { type: 'subscribe', id: 'm', topic: 'rooms/a/messages' },
    )
    const snapshot = await socket.next('event')
    expect(snapshot).toMatchObject({ topic: 'orders/1', event: 'snapshot', data: { id: 1, version: 1 } })
    await expect.poll(() => ofType(socket.messages, 'subscribed').length).toBe(2)
    await shop.putOrder(1, 2)
    const patch = await socket.next('event')
    const value = patch.event === 'patch' ? applyPatch(snapshot.data, patch.data as PatchOperation[]) : patch.data
    expect(value).toEqual({ id: 1, version: 2 })
    await shop.say('a', 'hi')
    expect(await socket.next('event')).toMatchObject({
      topic: 'rooms/a/messages',
      event: 'message',
      key: '1',
      data: { id: 1, text: 'hi' },
    })
    socket.close()
  })

  it('joins what one tick emits in one frame (R30)', async () => {
    const socket = await Socket.greet(origin)
    socket.send({ type: 'subscribe', id: 't', topic: 'ticks/a' })
    await socket.next('subscribed')
    const frames: string[] = []
    socket.raw.on('message', (data) => frames.push((data as Buffer).toString()))
    await Promise.all(Array.from({ length: 32 }, (_, n) => shop.app.crossfade.publish('ticks/a', 'tick', n)))
    await expect.poll(() => ofType(socket.messages, 'event').length).toBe(32)
    expect(frames.length).toBe(1)
    expect(ofType(socket.messages, 'event').map((event) => event.data)).toEqual(Array.from({ length: 32 }, (_, n) => n))
    socket.close()
  })

  it('that sends no hello in time is closed with 4408 (R32)', async () => {
    const strict = await openShop({ limits: { helloMs: 200 } })
    const silent = await Socket.open(await strict.listen())
    expect((await silent.closed).code).toBe(4408)
    await strict.app.close()
  })

  it('that breaks the contract is closed with the matching code (R32, R33)', async () => {
    const cases: [(socket: Socket) => void, number][] = [
      [(socket) => socket.raw.send('not json'), 4400],
      [(socket) => socket.raw.send('[1]'), 4400],
      [(socket) => socket.raw.send('{"no":"type"}'), 4400],
      [(socket) => socket.send({ type: 'subscribe', id: 'a', topic: 'orders/1' }), 4400],
      [(socket) => socket.raw.send(Buffer.from([1, 2, 3])), 1003],
      [(socket) => socket.raw.send('x'.repeat(70_000)), 1009],
      [(socket) => socket.send({ type: 'hello', protocol: '1' }), 4400],
      [(socket) => socket.send({ type: 'hello', protocol: 1, token: 'wrong' }), 4401],
      [(socket) => socket.send({ type: 'hello', protocol: 2 }), 4406],
      [(socket) => socket.send({ type: 'hello', protocol: 1, token: 'x'.repeat(8193) }), 4431],
    ]
    for (const [breach, code] of cases) {
      const socket = await Socket.open(origin)
      breach(socket)
      expect((await socket.closed).code).toBe(code)
    }
  })

  it('refuses unknown versions and foreign origins at the handshake (R31, R51)', async () => {
    const refused = async (protocols: string[], headers: Record<string, string>) => {
      const raw = new WebSocket(`${origin.replace('http', 'ws')}/crossfade/ws`, protocols, { headers })
      return new Promise<{ status: number | undefined; body: string }>((resolve) => {
        raw.once('unexpected-response', (_request, response) => {
          let body = ''
          response
            .on('data', (chunk) => (body += String(chunk)))
            .on('end', () => resolve({ status: response.statusCode, body }))
        })
        raw.on('error', () => {})
      })
    }
    const version = await refused(['crossfade.v9'], {})
    expect(version.status).toBe(400)
    expect(version.body).toContain('crossfade.v1')
    expect((await refused(['crossfade.v1'], { origin: 'https://evil.example' })).status).toBe(403)
    const none = await Socket.open(origin, { protocols: [] })
    expect(none.raw.protocol).toBe('')
    none.close()
    const both = await Socket.open(origin, { protocols: ['crossfade.v9', 'crossfade.v1'] })
    expect(both.raw.protocol).toBe('crossfade.v1')
    both.close()
  })

  it('reports wrong fields and unknown topics by an error, and stays open (R33, R54)', async () => {
    const socket = await Socket.greet(origin)
    socket.send(
      { type: 'subscribe', id: 'a', topic: '' },
      { type: 'subscribe', id: 'b', topic: 'orders/1', cursor: 'nonsense' },
      { type: 'subscribe', id: 'c', topic: 'unknown/topic' },
      { type: 'unknown', anything: 1 },
      { type: 'subscribe', id: 'd', topic: 'orders/1', future: true },
    )
    await socket.next('event')
    expect(ofType(socket.messages, 'error').map((error) => [error.id, error.code])).toEqual([
      ['a', 'invalid_topic'],
      ['b', 'invalid_cursor'],
      ['c', 'unknown_topic'],
    ])
    socket.close()
  })

  it('takes messages in order: a second subscribe replaces the first, unsubscribe cancels one under way (R33)', async () => {
    const socket = await Socket.greet(origin)
    socket.send(
      { type: 'subscribe', id: 'first', topic: 'orders/1' },
      { type: 'subscribe', id: 'second', topic: 'orders/1' },
    )
    expect((await socket.next('subscribed')).id).toBe('second')
    socket.send(
      { type: 'subscribe', id: 'x', topic: 'ticks/a' },
      { type: 'unsubscribe', id: 'x' },
      { type: 'subscribe', id: 'y', topic: 'ticks/b' },
    )
    expect(await socket.next('unsubscribed')).toMatchObject({ id: 'x', code: 'requested' })
    expect((await socket.next('subscribed')).id).toBe('y')
    await shop.app.crossfade.publish('ticks/a', 'tick', 'lost')
    await shop.app.crossfade.publish('ticks/b', 'tick', 'marker')
    await expect.poll(() => ofType(socket.messages, 'event').at(-1)?.data).toBe('marker')
    expect(ofType(socket.messages, 'event').some((event) => event.data === 'lost')).toBe(false)
    expect(ofType(socket.messages, 'unsubscribed').length).toBe(1)
    socket.close()
  })

  it('refuses too many topics by an error and closes a flood with 4414 (R33)', async () => {
    const socket = await Socket.greet(origin)
    for (let n = 0; n < 6; n++) socket.send({ type: 'subscribe', id: `s${n}`, topic: `ticks/${n}` })
    expect(await socket.next('error')).toMatchObject({ code: 'too_many_topics', id: 's5' })
    for (let n = 0; n < 60; n++) socket.send({ type: 'ping', n })
    expect((await socket.closed).code).toBe(4414)
  })

  it('answers a ping by a heartbeat and takes a fresh token of the same principal only (R53)', async () => {
    const socket = await Socket.greet(origin, 'ann-token')
    socket.send({ type: 'ping', n: 7 })
    expect((await socket.next('heartbeat')).n).toBe(7)
    socket.send(
      { type: 'token', token: 'ann-new-token' },
      { type: 'token', token: 'bob-token' },
      { type: 'token', token: 'wrong' },
    )
    expect((await socket.next('error')).code).toBe('forbidden')
    expect((await socket.next('error')).code).toBe('unauthenticated')
    socket.send({ type: 'ping', n: 8 })
    expect((await socket.next('heartbeat')).n).toBe(8)
    socket.close()
  })

  it('answers a token that has an id, whether it is taken or not (R53)', async () => {
    const socket = await Socket.greet(origin, 'ann-token')
    socket.send(
      { type: 'token', id: 't1', token: 'ann-new-token' },
      { type: 'token', id: 't2', token: 'bob-token' },
      { type: 'token', id: 't3', token: 'wrong' },
    )
    expect(await socket.next('response')).toEqual({ type: 'response', id: 't1', result: null })
    expect(await socket.next('response')).toMatchObject({ id: 't2', error: { code: 'forbidden' } })
    expect(await socket.next('response')).toMatchObject({ id: 't3', error: { code: 'unauthenticated' } })
    expect(ofType(socket.messages, 'error')).toEqual([])
    socket.close()
  })

  it('judges what comes behind a token in the same frame by that token (R33, R53)', async () => {
    const vault = await openShop({
      authenticate: async ({ headers }) => {
        // Verifying credentials takes time.
        await new Promise(setImmediate)
        return { id: 'ann', mayEnter: headers.authorization === 'Bearer insider' }
      },
    })
    vault.app.crossfade.log('vault/:id', { authorize: ({ principal }) => principal?.['mayEnter'] === true })
    const socket = await Socket.greet(await vault.listen(), 'outsider')
    const enter = (id: string) => ({ type: 'subscribe', id, topic: `vault/${id}` })
    socket.send({ type: 'token', token: 'insider' }, enter('a'), { type: 'token', token: 'outsider' }, enter('b'))
    expect(await socket.next('subscribed')).toMatchObject({ id: 'a' })
    expect(await socket.next('error')).toMatchObject({ id: 'b', code: 'forbidden' })
    await vault.app.close()
  })

  it('that does not answer a ping for an interval is told so, and closed with 4408 (R27)', async () => {
    const strict = await openShop({ limits: { heartbeatMs: 500 } })
    const address = await strict.listen()
    const living = await Socket.greet(address)
    const deaf = await Socket.open(address, { autoPong: false })
    deaf.send({ type: 'hello', protocol: 1 })
    expect(await deaf.next('bye')).toMatchObject({ code: 4408, retry: 0 })
    expect((await deaf.closed).code).toBe(4408)
    living.send({ type: 'ping', n: 5 })
    await expect.poll(() => ofType(living.messages, 'heartbeat').map(({ n }) => n)).toContain(5)
    expect(ofType(living.messages, 'bye')).toEqual([])
    await strict.app.close()
  })

  it('resumes after the socket dies without a repeat (R2, R3)', async () => {
    const first = await Socket.greet(origin, 'ann-token')
    first.send({ type: 'subscribe', id: 'm', topic: 'rooms/a/messages' })
    await first.next('subscribed')
    await shop.say('a', 'one')
    const { cursor } = await first.next('event')
    first.raw.terminate()
    for (const text of ['two', 'three']) await shop.say('a', text)
    const second = await Socket.greet(origin, 'ann-token')
    second.send({ type: 'subscribe', id: 'm', topic: 'rooms/a/messages', cursor })
    expect(await second.next('subscribed')).toMatchObject({ cursor, recovered: true })
    await shop.say('a', 'four')
    await expect.poll(() => ofType(second.messages, 'event').map((event) => event.key)).toEqual(['2', '3', '4'])
    second.close()
  })

  it('sends changed instead of data in mode changes', async () => {
    const socket = await Socket.greet(origin, 'ann-token')
    socket.send({ type: 'subscribe', id: 'o', topic: 'orders/1', mode: 'changes' })
    await socket.next('subscribed')
    await shop.putOrder(1, 2)
    const changed = await socket.next('changed')
    expect(changed).toMatchObject({ topic: 'orders/1', wait: expect.any(Number) as number })
    expect(ofType(socket.messages, 'event')).toEqual([])
    socket.close()
  })

  it('announces a reset on a live subscription, then the value (R4, R7)', async () => {
    const socket = await Socket.greet(origin, 'ann-token')
    socket.send(
      { type: 'subscribe', id: 'o', topic: 'orders/1' },
      { type: 'subscribe', id: 'm', topic: 'rooms/a/messages' },
    )
    await expect.poll(() => ofType(socket.messages, 'subscribed').length).toBe(2)
    await socket.next('event')
    await shop.feed.gap('the slot was lost')
    await expect
      .poll(() =>
        ofType(socket.messages, 'reset')
          .map((reset) => reset.topic)
          .sort(),
      )
      .toEqual(['orders/1', 'rooms/a/messages'])
    expect(await socket.next('event')).toMatchObject({
      topic: 'orders/1',
      event: 'snapshot',
      data: { id: 1, version: 1 },
    })
    socket.close()
  })

  it('says bye with its code and a time to come back when the server drains (D7)', async () => {
    const socket = await Socket.greet(origin)
    const closing = shop.app.close()
    expect(await socket.next('bye')).toMatchObject({ code: 1001, retry: expect.any(Number) as number })
    expect((await socket.closed).code).toBe(1001)
    await closing
  })

  it('runs a repeated request once and gives the same answer (R34)', async () => {
    let runs = 0
    shop.app.crossfade.rpc('count', {}, ({ body }) => ({ run: (runs += 1), body }))
    const id = 'r'.repeat(24)
    const socket = await Socket.greet(origin, 'ann-token')
    const call = { type: 'request', id, method: 'count', params: { a: 1 } }
    socket.send(call, call, { ...call, params: { a: 2 } })
    await expect.poll(() => ofType(socket.messages, 'response').length).toBe(3)
    const responses = ofType(socket.messages, 'response')
    expect(responses.filter((response) => response.error?.code === 'id_reused').length).toBe(1)
    expect(responses.filter((response) => response.error === undefined).map((response) => response.result)).toEqual([
      { run: 1, body: { a: 1 } },
      { run: 1, body: { a: 1 } },
    ])
    const response = await shop.app.inject({
      method: 'POST',
      url: '/crossfade/rpc/count',
      headers: { authorization: 'Bearer ann-token', 'idempotency-key': id },
      payload: { a: 1 },
    })
    expect(response.json()).toEqual({ result: { run: 1, body: { a: 1 } } })
    socket.close()
  })

  it('works in process by the injectWS of the application', async () => {
    const product = await openShop({}, (app) => void app.register(websocket))
    await product.app.ready()
    const raw = await product.app.injectWS('/crossfade/ws')
    const socket = new Socket(raw)
    socket.send({ type: 'hello', protocol: 1 }, { type: 'subscribe', id: 'o', topic: 'orders/1' })
    expect(await socket.next('event')).toMatchObject({ data: { id: 1, version: 1 } })
    socket.close()
    await product.app.close()
  })

  it.each(['/nosuch', '/crossfade', '/crossfade/nosuch', '/crossfade/poll', '/crossfade/health'])(
    'does not exist on %s, which answers 404',
    async (path) => {
      const raw = new WebSocket(`${origin.replace('http', 'ws')}${path}`)
      const status = await new Promise((resolve) => {
        raw.once('unexpected-response', (_request, response) => {
          resolve(response.statusCode)
          response.destroy()
        })
        raw.once('open', () => resolve('open'))
      })
      expect(status).toBe(404)
      expect((await fetch(`${origin}/api/orders/1`)).status).toBe(200)
    },
  )
})
