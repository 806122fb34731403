import { applyPatch, hashValue, parseHeader, type PatchOperation } from '@crossfade/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { Socket } from './socket.ts'
import { ann, bob, ofType, openShop, poll, type Shop } from './shop.ts'

let shop: Shop
afterEach(() => shop.app.close())

describe('polling many topics', () => {
  it('gives a topic without cursor its snapshot, and nothing more from there (R3, R20)', async () => {
    shop = await openShop()
    const first = await poll(shop, { 'orders/1': {} })
    const [subscribed] = ofType(first.messages, 'subscribed')
    expect(subscribed).toMatchObject({ topic: 'orders/1', kind: 'value', recovered: true })
    expect(subscribed?.cursor.endsWith('_000000000000')).toBe(true)
    const [snapshot] = ofType(first.messages, 'event')
    expect(snapshot).toMatchObject({
      event: 'snapshot',
      data: { id: 1, version: 1 },
      hash: hashValue({ id: 1, version: 1 }),
    })
    expect(first.topics['orders/1']?.cursor).toBe(snapshot?.cursor)
    const second = await poll(shop, { 'orders/1': { cursor: snapshot?.cursor, hash: snapshot?.hash } })
    expect(second.messages).toEqual([])
    expect(second.topics).toEqual(first.topics)
  })

  it('resumes where a REST answer left off, without sending the value again (R6, R8)', async () => {
    shop = await openShop()
    const header = parseHeader(String((await shop.app.inject('/api/orders/1')).headers['crossfade']))
    const answer = await poll(shop, { 'orders/1': { cursor: header?.cursor, hash: header?.hash } })
    expect(answer.messages).toEqual([])
  })

  it('sends patches to a client whose hash is known, else a snapshot (R5, R6)', async () => {
    shop = await openShop({ warmMs: 60_000 })
    const rows = Array.from({ length: 20 }, (_, id) => ({ id, text: `row ${id}` }))
    shop.orders.set(1, { id: 1, version: 1, rows })
    const first = await poll(shop, { 'orders/1': {} })
    const [start] = ofType(first.messages, 'event')
    const held = poll(shop, { 'orders/1': { cursor: start?.cursor, hash: start?.hash } }, { wait: 10_000 })
    await expect.poll(async () => (await shop.app.inject('/crossfade/health')).json().connections).toBe(1)
    shop.orders.set(1, { id: 1, version: 2, rows })
    await shop.feed.emit('orders', { after: { id: 1, version: 2 } })
    const [patch] = ofType((await held).messages, 'event')
    expect(patch?.event).toBe('patch')
    const value = applyPatch(start?.data, patch?.data as PatchOperation[])
    expect(value).toEqual({ id: 1, version: 2, rows })
    expect(hashValue(value)).toBe(patch?.hash)
    // The same cursor again: a lost answer loses nothing (R21), and without a hash it is a snapshot (R6).
    const again = await poll(shop, { 'orders/1': { cursor: start?.cursor, hash: start?.hash } })
    expect(ofType(again.messages, 'event').map((event) => event.event)).toEqual(['patch'])
    const blind = await poll(shop, { 'orders/1': { cursor: start?.cursor } })
    expect(ofType(blind.messages, 'event').map((event) => event.event)).toEqual(['snapshot'])
  })

  it('does not recover a cursor of another epoch, or one beyond the head (R4)', async () => {
    shop = await openShop()
    const first = await poll(shop, { 'orders/1': {} })
    const cursor = String(first.topics['orders/1']?.cursor)
    const epoch = cursor.slice(0, 12)
    for (const position of [{ cursor: 'aaaaaaaaaaaa_000000000001' }, { cursor: `${epoch}_000000000099` }]) {
      const answer = await poll(shop, { 'orders/1': position }, { wait: 10_000 })
      expect(ofType(answer.messages, 'subscribed')[0]).toMatchObject({ recovered: false })
      expect(ofType(answer.messages, 'event')[0]).toMatchObject({ event: 'snapshot' })
    }
    const log = await poll(
      shop,
      { 'rooms/a/messages': { cursor: 'aaaaaaaaaaaa_000000000001', history: 5 } },
      { headers: ann },
    )
    expect(ofType(log.messages, 'subscribed')[0]).toMatchObject({ recovered: false })
    expect(ofType(log.messages, 'event')).toEqual([])
  })

  it('gives a client with another value the snapshot immediately: no event was lost (R4, R6)', async () => {
    shop = await openShop()
    const first = await poll(shop, { 'orders/1': {} })
    const cursor = String(first.topics['orders/1']?.cursor)
    const answer = await poll(shop, { 'orders/1': { cursor, hash: '0'.repeat(16) } }, { wait: 10_000 })
    expect(ofType(answer.messages, 'event')).toMatchObject([{ event: 'snapshot', cursor }])
    expect(ofType(answer.messages, 'subscribed')).toEqual([])
    expect(answer.topics).toEqual({ 'orders/1': { cursor } })

    const socket = await Socket.greet(await shop.app.listen({ host: '127.0.0.1', port: 0 }))
    socket.send({ type: 'subscribe', id: 'a', topic: 'orders/1', cursor, hash: '0'.repeat(16) })
    expect(await socket.next('subscribed')).toMatchObject({ recovered: true, cursor })
    expect(await socket.next('event')).toMatchObject({ event: 'snapshot', cursor })
    socket.close()
  })

  it('gives a log exactly the events after the cursor, again and again (R2, R3, R21)', async () => {
    shop = await openShop()
    const start = await poll(shop, { 'rooms/a/messages': {} }, { headers: ann })
    const cursor = start.topics['rooms/a/messages']?.cursor
    for (const text of ['one', 'two', 'three']) await shop.say('a', text)
    await shop.say('b', 'elsewhere')
    for (let repeat = 0; repeat < 2; repeat++) {
      const answer = await poll(shop, { 'rooms/a/messages': { cursor } }, { headers: ann })
      expect(ofType(answer.messages, 'event').map((event) => [event.event, event.key, event.data])).toEqual([
        ['message', '1', { id: 1, text: 'one' }],
        ['message', '2', { id: 2, text: 'two' }],
        ['message', '3', { id: 3, text: 'three' }],
      ])
    }
    const last = await poll(shop, { 'rooms/a/messages': { history: 2 } }, { headers: ann })
    expect(ofType(last.messages, 'event').map((event) => event.key)).toEqual(['2', '3'])
  })

  it('drops a change that the feed delivers twice (C2)', async () => {
    shop = await openShop()
    const start = await poll(shop, { 'rooms/a/messages': {} }, { headers: ann })
    const position = await shop.feed.emit('messages', { after: { id: 1, room: 'a', text: 'x' } })
    await shop.feed.emit('messages', { after: { id: 1, room: 'a', text: 'x' } }, position)
    await shop.feed.emit('messages', { after: { id: 2, room: 'a', text: 'y' } })
    const answer = await poll(shop, { 'rooms/a/messages': start.topics['rooms/a/messages'] }, { headers: ann })
    expect(ofType(answer.messages, 'event').map((event) => event.key)).toEqual(['1', '2'])
  })

  it('refuses one topic and serves the others (R23, R54)', async () => {
    shop = await openShop()
    const answer = await poll(
      shop,
      {
        'orders/1': {},
        'no/such/topic': {},
        'orders/99': {},
        'users/ann/notes': {},
        'bad//name': {},
        'orders/2': { cursor: 'x' },
      },
      { headers: bob },
    )
    const codes = Object.fromEntries(ofType(answer.messages, 'error').map((error) => [error.topic, error.code]))
    expect(codes).toEqual({
      'no/such/topic': 'unknown_topic',
      'orders/99': 'forbidden',
      'users/ann/notes': 'forbidden',
      'bad//name': 'invalid_topic',
      'orders/2': 'invalid_cursor',
    })
    expect(Object.keys(answer.topics)).toEqual(['orders/1'])
    const anonymous = await poll(shop, { 'users/ann/notes': {}, 'rooms/a/messages': {} })
    expect(ofType(anonymous.messages, 'error').map((error) => error.code)).toEqual([
      'unauthenticated',
      'unauthenticated',
    ])
  })

  it('answers malformed bodies, bad tokens and foreign origins with their codes (R51)', async () => {
    shop = await openShop()
    const post = (payload: string, headers: Record<string, string> = {}) =>
      shop.app.inject({
        method: 'POST',
        url: '/crossfade/poll',
        headers: { 'content-type': 'application/json', ...headers },
        payload,
      })
    const cases: [string, Record<string, string>, number, string][] = [
      ['{', {}, 400, 'malformed'],
      ['[]', {}, 400, 'malformed'],
      ['{"topics":[]}', {}, 400, 'malformed'],
      ['{"topics":{}}', { 'content-type': 'text/plain' }, 400, 'malformed'],
      ['{"topics":{}}', { authorization: 'Bearer wrong' }, 401, 'unauthenticated'],
      ['{"topics":{}}', { origin: 'https://evil.example' }, 403, 'forbidden_origin'],
      ['{"topics":{}}', { origin: 'null' }, 403, 'forbidden_origin'],
      [`{"topics":{"${'x'.repeat(300_000)}":{}}}`, {}, 413, 'too_large'],
    ]
    for (const [payload, headers, status, code] of cases) {
      const response = await post(payload, headers)
      expect([response.statusCode, response.json().code]).toEqual([status, code])
      expect(response.headers['content-type']).toContain('application/problem+json')
    }
    expect((await post('{"topics":{}}', { origin: 'http://localhost:80', host: 'localhost:80' })).statusCode).toBe(200)
  })

  it('reports a loss of the source by another epoch, once (R4, C4)', async () => {
    shop = await openShop()
    const start = await poll(shop, { 'orders/1': {}, 'rooms/a/messages': {} }, { headers: ann })
    await shop.feed.gap('the slot was lost')
    const answer = await poll(shop, start.topics, { headers: ann })
    expect(ofType(answer.messages, 'subscribed').map((message) => message.recovered)).toEqual([false, false])
    const next = await poll(shop, answer.topics, { headers: ann })
    expect(ofType(next.messages, 'subscribed')).toEqual([])
  })

  it('cuts an answer at its bound and gives the rest with the next poll (R9)', async () => {
    shop = await openShop({ limits: { maxAnswerBytes: 2000 } })
    const start = await poll(shop, { 'ticks/a': {} })
    for (let n = 0; n < 2000; n++) await shop.app.crossfade.publish('ticks/a', 'tick', { n, pad: 'x'.repeat(100) })
    const seen: number[] = []
    let topics = start.topics
    for (let polls = 0, more = true; more && polls < 50; polls++) {
      const answer = await poll(shop, topics)
      seen.push(...ofType(answer.messages, 'event').map((event) => (event.data as { n: number }).n))
      topics = answer.topics
      more = answer.more
    }
    // The history holds the last 1,000: the cursor before it is not recovered, and says so.
    expect(seen).toEqual([])
    const late = await poll(shop, { 'ticks/a': { history: 1000 } })
    expect(late.more).toBe(true)
  })

  it('is not disturbed by overlapping, repeated or abandoned polls (R22, F12)', async () => {
    shop = await openShop()
    const origin = await shop.listen()
    const start = await poll(shop, { 'rooms/a/messages': {} }, { headers: ann })
    const abandoned = new AbortController()
    const body = JSON.stringify({ topics: start.topics, wait: 20_000 })
    const headers = { ...ann, 'content-type': 'application/json' }
    const lost = fetch(`${origin}/crossfade/poll`, { method: 'POST', headers, body, signal: abandoned.signal }).catch(
      () => null,
    )
    const held = [1, 2].map(() => poll(shop, start.topics, { wait: 20_000, headers: ann }))
    await expect.poll(async () => (await shop.app.inject('/crossfade/health')).json().connections).toBe(3)
    abandoned.abort()
    await lost
    await shop.say('a', 'one')
    for (const answer of await Promise.all(held))
      expect(ofType(answer.messages, 'event').map((event) => event.key)).toEqual(['1'])
    const again = await poll(shop, start.topics, { headers: ann })
    expect(ofType(again.messages, 'event').map((event) => event.key)).toEqual(['1'])
    await expect.poll(async () => (await shop.app.inject('/crossfade/health')).json().connections).toBe(0)
  })
})
