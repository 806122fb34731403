import { request } from 'node:http'
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { CrossfadeOptions } from '../src/index.ts'
import { ann, ofType, openShop, poll, type Shop } from './shop.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'

let shop: Shop
let origin: string
afterEach(() => shop.app.close())

async function open(options: CrossfadeOptions = {}): Promise<void> {
  shop = await openShop(options)
  origin = await shop.listen()
}

/** A client that must still be served, whatever the others do. */
async function expectServed(socket: Socket): Promise<void> {
  await shop.app.crossfade.publish('ticks/served', 'tick', 'still here')
  expect(await socket.next('event')).toMatchObject({ topic: 'ticks/served', data: 'still here' })
}

async function served(): Promise<Socket> {
  const socket = await Socket.greet(origin)
  socket.send({ type: 'subscribe', id: 's', topic: 'ticks/served' })
  await socket.next('subscribed')
  return socket
}

async function health(): Promise<{ connections: number; topics: number }> {
  return (await shop.app.inject('/crossfade/health')).json()
}

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

describe('a hostile WebSocket client (D8)', () => {
  it('among a thousand without hello is closed with 4408, and others are served meanwhile (R32)', async () => {
    await open({ limits: { helloMs: 1_500 } })
    const witness = await served()
    const silent = await Promise.all(Array.from({ length: 1_000 }, () => Socket.open(origin)))
    await expectServed(witness)
    const codes = await Promise.all(silent.map((socket) => socket.closed.then(({ code }) => code)))
    expect(new Set(codes)).toEqual(new Set([4408]))
    await expectServed(witness)
    expect(await health()).toMatchObject({ connections: 1 })
  })

  it('opens no more connections than its account may have, or its address without one (F30)', async () => {
    await open({ limits: { maxConnectionsPerAddress: 10, maxConnectionsPerPrincipal: 3 } })
    const own = await Promise.all([1, 2, 3].map(() => Socket.greet(origin, 'ann-token')))
    const fourth = await Socket.open(origin)
    fourth.send({ type: 'hello', protocol: 1, token: 'ann-token' })
    expect((await fourth.closed).code).toBe(4429)
    const others = await Promise.all(Array.from({ length: 10 }, () => Socket.greet(origin)))
    const eleventh = await Socket.open(origin)
    eleventh.send({ type: 'hello', protocol: 1 })
    expect((await eleventh.closed).code).toBe(4429)
    const bob = await Socket.greet(origin, 'bob-token')
    own.push(bob)
    for (const socket of [...own, ...others]) socket.close()
    await Promise.all([...own, ...others].map((socket) => socket.closed))
    await expect.poll(health).toMatchObject({ connections: 0 })
    await Socket.greet(origin, 'ann-token')
  })

  it('sends frames that are not messages and is closed with the matching code; nobody else notices (R33)', async () => {
    await open({ limits: { maxMessageBytes: 65_536 } })
    const witness = await served()
    const frames: [string | Buffer, number][] = [
      ['x'.repeat(70_000), 1009],
      [Buffer.from('{"type":"hello","protocol":1}'), 1003],
      ['', 4400],
      ['\n\n', 4400],
      ['null', 4400],
      ['"hello"', 4400],
      ['{"type":1}', 4400],
      ['{"type":"ping","n":1}\nnonsense', 4400],
      [nested(30_000), 4400],
      [`{"type":"__proto__"}\n{`, 4400],
    ]
    for (const [frame, code] of frames) {
      const socket = await Socket.greet(origin)
      socket.raw.send(frame)
      expect([String(frame).slice(0, 30), (await socket.closed).code]).toEqual([String(frame).slice(0, 30), code])
    }
    await expectServed(witness)
  })

  it('nests the parameters of a call without end and gets an error (R34)', async () => {
    await open()
    shop.app.crossfade.rpc('echo', {}, ({ body }) => body)
    const socket = await Socket.greet(origin)
    socket.raw.send(`{"type":"request","id":"${'d'.repeat(22)}","method":"echo","params":${nested(30_000)}}`)
    expect(await socket.next('response')).toMatchObject({ error: { code: 'malformed' } })
    const response = await shop.app.inject({
      method: 'POST',
      url: '/crossfade/rpc/echo',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'e'.repeat(22) },
      payload: nested(30_000),
    })
    expect(response.statusCode).toBe(400)
    expect(response.json()).toMatchObject({ code: 'malformed' })
  })

  it('floods with messages, known or not, or with pings, and is closed with 4414 (R33)', async () => {
    await open({ limits: { messagesPerSecond: 20, messageBurst: 50 } })
    const floods: ((socket: Socket) => void)[] = [
      (socket) => socket.raw.send('{"type":"ping","n":1}'),
      (socket) => socket.raw.send('{"type":"subscribe","id":"x","topic":"nothing/here"}'),
      (socket) => socket.raw.send('{"type":"of tomorrow"}'),
      (socket) => socket.raw.ping('x'),
      (socket) => socket.raw.pong('x'),
    ]
    for (const flood of floods) {
      const socket = await Socket.greet(origin)
      for (let n = 0; n < 200; n++) flood(socket)
      expect([String(flood), (await socket.closed).code]).toEqual([String(flood), 4414])
    }
    const patient = await Socket.greet(origin)
    for (let n = 0; n < 40; n++) patient.send({ type: 'ping', n })
    for (let n = 0; n < 40; n++) expect(await patient.next('heartbeat')).toMatchObject({ n })
  })

  it('asks for invalid topics, and no topic is created (R1)', async () => {
    await open()
    const socket = await Socket.greet(origin)
    const names: [unknown, string][] = [
      ['', 'invalid_topic'],
      ['/orders/1', 'invalid_topic'],
      ['orders//1', 'invalid_topic'],
      ['orders/../users/bob/notes', 'invalid_topic'],
      ['orders/1\r\nSet-Cookie: a=b', 'invalid_topic'],
      ['orders/1\u0000', 'invalid_topic'],
      ['x'.repeat(256), 'invalid_topic'],
      [{ toString: 'orders/1' }, 'invalid_topic'],
      [['orders/1'], 'invalid_topic'],
      ['__proto__', 'unknown_topic'],
      ['constructor/prototype', 'unknown_topic'],
      ['orders/1?admin=1', 'invalid_topic'],
      ['orders/1%2F..%2F2', 'forbidden'],
      ['orders/__proto__', 'forbidden'],
      ['orders/404', 'forbidden'],
    ]
    for (const [topic, code] of names) {
      socket.send({ type: 'subscribe', id: 'x', topic })
      expect([topic, (await socket.next('error')).code]).toEqual([topic, code])
    }
    expect(ofType(socket.messages, 'subscribed')).toEqual([])
    expect(await health()).toMatchObject({ topics: 0 })
  })
})

it("is told the same about another's topic as about a missing one (R52)", async () => {
  await open()
  const socket = await Socket.greet(origin, 'ann-token')
  const told: string[] = []
  for (const topic of ['users/bob/notes', 'users/nobody/notes', 'orders/404']) {
    socket.send({ type: 'subscribe', id: 'x', topic })
    const { code, message } = await socket.next('error')
    told.push(`${code}: ${message.replace(topic, 'TOPIC')}`)
  }
  expect(new Set(told)).toEqual(new Set(['forbidden: The topic "TOPIC" is not yours to read, or does not exist.']))
})

describe('a hostile HTTP client (D8, D9)', () => {
  it('names thousands of topics in one poll and is refused as a whole', async () => {
    await open()
    const topics = Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`a/${n}`, {}]))
    for (const url of ['/crossfade/poll', '/crossfade/sse']) {
      const response = await shop.app.inject({ method: 'POST', url, payload: { topics } })
      expect(response.statusCode).toBe(400)
      expect(response.json()).toMatchObject({ code: 'too_many_topics' })
    }
    const few = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`ticks/${n}`, {}]))
    const answer = await poll(shop, few)
    expect(ofType(answer.messages, 'error').map(({ code }) => code)).toEqual(Array(44).fill('too_many_topics'))
    expect(Object.keys(answer.topics).length).toBe(256)
  })

  it('sends something other than JSON and is refused, whatever its content type (R51)', async () => {
    await open()
    let ran = 0
    shop.app.crossfade.rpc('act', {}, () => (ran += 1))
    const body = '{"topics":{"orders/1":{}}}'
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'nonsense',
    ]) {
      for (const url of ['/crossfade/poll', '/crossfade/sse', '/crossfade/rpc/act']) {
        const response = await shop.app.inject({
          method: 'POST',
          url,
          headers: { 'content-type': type, 'idempotency-key': 'k'.repeat(22), cookie: 'session=1' },
          payload: body,
        })
        expect([type, url, response.statusCode, response.json().code]).toEqual([type, url, 400, 'malformed'])
      }
    }
    expect(ran).toBe(0)
  })

  it('tries to poison prototypes by bodies and names, without effect', async () => {
    await open()
    for (const payload of [
      '{"topics":{"__proto__":{"cursor":"x"}}}',
      '{"__proto__":{"topics":{}},"topics":{}}',
      '{"topics":{"orders/1":{"__proto__":{"mode":"changes"}}}}',
      '{"constructor":{"prototype":{"polluted":1}},"topics":{}}',
    ]) {
      const response = await shop.app.inject({
        method: 'POST',
        url: '/crossfade/poll',
        headers: { 'content-type': 'application/json' },
        payload,
      })
      expect([payload, response.statusCode]).toEqual([payload, 400])
    }
    const answer = await poll(shop, JSON.parse('{"constructor":{},"toString":{},"ticks/__proto__":{}}'))
    expect(ofType(answer.messages, 'error').map(({ code }) => code)).toEqual(['unknown_topic', 'unknown_topic'])
    expect(Object.keys(answer.topics)).toEqual(['ticks/__proto__'])
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })

  it('cannot write into a stream by data, names or ids (D9)', async () => {
    await open()
    const evil = 'a\r\n\r\nid: evil\ndata: {"type":"bye"}\r\revent: x\u2028\n\n'
    const stream = await Stream.open(`${origin}/crossfade/sse?topic=ticks/a`, { headers: { 'last-event-id': 'evil' } })
    await expect.poll(() => ofType(stream.messages, 'subscribed').length).toBe(1)
    await shop.app.crossfade.publish('ticks/a', evil, { evil }, { key: evil })
    await shop.app.crossfade.publish('ticks/a', 'marker', 1)
    await expect.poll(() => ofType(stream.messages, 'event').length).toBe(2)
    expect(ofType(stream.messages, 'event')[0]).toMatchObject({ event: evil, data: { evil }, key: evil })
    expect(stream.messages.map(({ type }) => type)).toEqual(['hello', 'subscribed', 'event', 'event'])
    expect(new Set(stream.events.map(({ event }) => event))).toEqual(new Set(['message']))
    stream.close()
    const split = await shop.app.inject('/api/orders/1%0d%0aSet-Cookie:%20a=b')
    expect(split.headers['set-cookie']).toBeUndefined()
  })

  it('of a foreign origin is refused on every transport, before any state is made (R51)', async () => {
    await open({ allowedOrigins: ['https://app.example.com'] })
    const { host } = new URL(origin)
    const origins: [string, boolean][] = [
      ['https://evil.example', false],
      ['null', false],
      [`http://${host}.evil.example`, false],
      [`http://evil.example/${host}`, false],
      [`http://user@${host}`, false],
      [`http://${host}`, true],
      ['https://app.example.com', true],
      ['https://app.example.com.evil.example', false],
    ]
    const json = { 'content-type': 'application/json' }
    for (const [from, allowed] of origins) {
      const headers = { origin: from }
      const statuses = await Promise.all([
        statusOf('POST', '/crossfade/poll', { ...json, ...headers }, '{"topics":{}}'),
        statusOf('POST', '/crossfade/sse', { ...json, ...headers }, '{"topics":{"ticks/a":{}}}'),
        statusOf('GET', '/crossfade/sse?topic=ticks/a', headers),
        statusOf('GET', '/api/orders/1', { ...headers, accept: 'text/event-stream' }),
        statusOf('GET', '/api/orders/1', { ...headers, prefer: 'wait=1' }),
        Socket.open(origin, { headers }).then(
          (socket) => (socket.close(), 200),
          (error: Error) => Number(/\d+$/.exec(error.message)?.[0]),
        ),
      ])
      expect([from, statuses]).toEqual([from, Array(6).fill(allowed ? 200 : 403)])
      expect(await statusOf('GET', '/api/orders/1', headers)).toBe(200)
    }
    await expect.poll(health).toMatchObject({ connections: 0 })
  })

  it('never gets in with a token in the URL (R50)', async () => {
    await open()
    for (const query of ['token=ann-token', 'authorization=Bearer%20ann-token', 'access_token=ann-token']) {
      const socket = await Socket.open(origin, { path: `/crossfade/ws?${query}` })
      socket.send({ type: 'hello', protocol: 1 }, { type: 'subscribe', id: 'n', topic: 'users/ann/notes' })
      expect((await socket.next('error')).code).toBe('unauthenticated')
      const stream = await Stream.open(`${origin}/crossfade/sse?topic=users/ann/notes&${query}`)
      expect(stream.response.statusCode).toBe(401)
      stream.close()
    }
    const proper = await Stream.open(`${origin}/crossfade/sse?topic=users/ann/notes`, { headers: ann })
    await expect.poll(() => ofType(proper.messages, 'event').length).toBe(1)
  })

  it('sends a body without end and is cut off (D8)', async () => {
    await open({ limits: { maxHoldMs: 300 } })
    const socket = connect(Number(new URL(origin).port), '127.0.0.1')
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => {})
    socket.resume()
    socket.write(
      'POST /crossfade/poll HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{',
    )
    await closed
    expect((await poll(shop, { 'ticks/a': {} }, { wait: 300 })).more).toBe(false)
  })

  it('opens no more probes than its address may have connections', async () => {
    await open({ limits: { maxConnectionsPerAddress: 3 } })
    const probes = await Promise.all([1, 2, 3].map(() => Socket.open(origin, { path: '/crossfade/probe' })))
    const fourth = await Socket.open(origin, { path: '/crossfade/probe' })
    expect((await fourth.closed).code).toBe(4429)
    for (const probe of probes) probe.raw.send('{"type":"bye","code":1,"message":"","retry":null}')
    expect(await Promise.all(probes.map(({ closed }) => closed.then(({ code }) => code)))).toEqual([1000, 1000, 1000])
  })

  it('is not charged for connections that have closed (D8)', async () => {
    await open({ limits: { maxTopicsPerPrincipal: 3, maxConnectionsPerPrincipal: 3 } })
    for (let round = 0; round < 8; round++) {
      const stream = await Stream.open(`${origin}/crossfade/sse`, {
        headers: ann,
        body: { topics: { 'ticks/a': {}, 'users/ann/notes': {}, 'orders/404': {} } },
      })
      // Every other one goes before it is answered.
      const answers = round % 2 === 0 ? 2 : 0
      await expect.poll(() => ofType(stream.messages, 'subscribed').length).toBeGreaterThanOrEqual(answers)
      stream.close()
      await expect.poll(health).toMatchObject({ connections: 0 })
    }
    const answer = await poll(shop, { 'ticks/a': {}, 'ticks/b': {}, 'ticks/c': {} }, { headers: ann })
    expect(ofType(answer.messages, 'error')).toEqual([])
  })
})

/** The status of a request, whose answer may never end. */
function statusOf(method: string, path: string, headers: Record<string, string>, body?: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(`${origin}${path}`, { method, headers, agent: false }, (response) => {
      resolve(response.statusCode ?? 0)
      sent.destroy()
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
