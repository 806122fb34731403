import { parseHeader } from '@crossfade/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ofType, openShop, poll, type Shop } from './shop.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'

let shop: Shop
let origin: string
beforeEach(async () => {
  shop = await openShop({ rollout: { 'order-page': { stage: 'shadow', percent: 5 } } })
  origin = await shop.listen()
})
afterEach(() => shop.app.close())

const operator = { authorization: 'Bearer operator' }

async function put(feature: string, payload: object | string, headers: Record<string, string> = operator) {
  return shop.app.inject({
    method: 'PUT',
    url: `/crossfade/features/${feature}`,
    headers: { 'content-type': 'application/json', ...headers },
    payload,
  })
}

describe('the rollout of a feature', () => {
  it('is heard by clients of a predecessor whose clock was ahead (R61)', async () => {
    const ahead = Date.now() + 3_600_000
    const told = ofType((await poll(shop, {}, { stagesSince: ahead })).messages, 'stage')
    expect(told.find(({ feature }) => feature === 'order-page')).toMatchObject({ stage: 'shadow', percent: 5 })
    expect(Math.min(...told.map(({ version }) => version))).toBeGreaterThan(ahead)
    expect((await put('order-page', { stage: 'off' })).json().version).toBeGreaterThan(ahead)
  })

  it('keeps its version whatever a client invents', async () => {
    const before = parseHeader((await shop.app.inject('/api/orders/1')).headers['crossfade'] as string)?.version
    expect((await poll(shop, {}, { stagesSince: Number.MAX_SAFE_INTEGER })).messages).toEqual([])
    expect(parseHeader((await shop.app.inject('/api/orders/1')).headers['crossfade'] as string)?.version).toBe(before)
  })

  it('reaches connections by a stage message and polls by their next answer and header (R61)', async () => {
    const socket = await Socket.greet(origin)
    const before = await poll(shop, { 'orders/1': {} }, { stagesSince: 0 })
    const version = ofType(before.messages, 'stage').at(-1)?.version
    const response = await put('order-page', { stage: 'push', percent: 100 })
    const rollout = { feature: 'order-page', stage: 'push', percent: 100, rest: 'off' }
    expect(response.json()).toEqual({ ...rollout, version: expect.any(Number) })
    expect(response.json().version).toBeGreaterThan(version ?? Infinity)
    expect(await socket.next('stage')).toMatchObject({
      ...rollout,
      version: response.json().version,
    })
    const after = await poll(shop, before.topics, { stagesSince: version })
    expect(ofType(after.messages, 'stage')).toMatchObject([{ ...rollout, version: response.json().version }])
    // A client that does not say what it knows asks the endpoint.
    expect(ofType((await poll(shop, before.topics)).messages, 'stage')).toEqual([])
    const endpoint = await shop.app.inject('/api/orders/1')
    expect(parseHeader(String(endpoint.headers['crossfade']))).toMatchObject(response.json())
    socket.close()
  })

  it('wakes a held poll, and an announced stage does not keep later ones from being held (R61)', async () => {
    const start = await poll(shop, { 'orders/1': {} })
    const [event] = ofType(start.messages, 'event')
    const position = { 'orders/1': { cursor: event?.cursor, hash: event?.hash } }
    const held = poll(shop, position, { wait: 20_000 })
    await expect.poll(async () => (await shop.app.inject('/crossfade/health')).json().connections).toBe(1)
    await put('order-page', { stage: 'off' })
    expect(ofType((await held).messages, 'stage')[0]).toMatchObject({ stage: 'off' })
    const next = poll(shop, position, { wait: 20_000 })
    await expect.poll(async () => (await shop.app.inject('/crossfade/health')).json().connections).toBe(1)
    await shop.putOrder(1, 2)
    expect(ofType((await next).messages, 'event').length).toBe(1)
  })

  it('is told immediately to a poll that does not know it, and a poll that does is held (R61)', async () => {
    const start = await poll(shop, { 'orders/1': {} }, { stagesSince: 0 })
    const [event] = ofType(start.messages, 'event')
    const position = { 'orders/1': { cursor: event?.cursor, hash: event?.hash } }
    const heard = ofType(start.messages, 'stage').at(-1)?.version
    await put('order-page', { stage: 'push' })
    const next = await poll(shop, position, { wait: 20_000, stagesSince: heard })
    expect(ofType(next.messages, 'stage')).toMatchObject([{ feature: 'order-page', stage: 'push' }])
    const held = poll(shop, position, { wait: 20_000, stagesSince: ofType(next.messages, 'stage').at(-1)?.version })
    await expect.poll(async () => (await shop.app.inject('/crossfade/health')).json().connections).toBe(1)
    await shop.putOrder(1, 2)
    expect((await held).messages.map(({ type }) => type)).toEqual(['event'])
  })

  it('is told to a connection that comes back, unless it already knows it (R61)', async () => {
    await put('order-page', { stage: 'hint' })
    const all = ofType((await poll(shop, {}, { stagesSince: 0 })).messages, 'stage')
    const versions = all.map(({ version }) => version)
    // One after the other: a client that knows some of them is told the others.
    expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b))
    const hello = { type: 'hello', protocol: 1, stagesSince: versions.at(-1) }
    const informed = await Socket.open(origin)
    informed.send(hello, { type: 'ping', n: 1 })
    await informed.next('heartbeat')
    expect(ofType(informed.messages, 'stage')).toEqual([])
    informed.close()

    await put('order-page', { stage: 'off' })
    const socket = await Socket.open(origin)
    socket.send(hello, { type: 'ping', n: 1 })
    await socket.next('heartbeat')
    expect([...new Set(socket.messages.map(({ type }) => type))]).toEqual(['hello', 'stage', 'heartbeat'])
    const told = ofType(socket.messages, 'stage')
    expect(told).toMatchObject([{ feature: 'order-page', stage: 'off', spread: 0 }])
    socket.close()

    const stream = await Stream.open(`${origin}/crossfade/sse`, { body: { topics: {}, stagesSince: versions.at(-1) } })
    await expect.poll(() => ofType(stream.messages, 'stage')).toEqual(told)
    stream.close()
  })

  it('is off for all when it is set to off, whatever the others had', async () => {
    await put('order-page', { stage: 'push', percent: 25, rest: 'hint' })
    const response = await put('order-page', { stage: 'off' })
    expect(response.json()).toMatchObject({ feature: 'order-page', stage: 'off', percent: 100, rest: 'off' })
  })

  it('is changed by the operator only, and bad values change nothing', async () => {
    expect((await put('order-page', { stage: 'push' }, {})).statusCode).toBe(403)
    expect((await put('order-page', { stage: 'push' }, { authorization: 'Bearer ann-token' })).statusCode).toBe(403)
    const wrong = [{ stage: 'full' }, { stage: null }, {}, { percent: 50 }, '[]', '{']
    const stage = 'push'
    for (const bad of [...wrong, { stage, percent: 101 }, { stage, percent: 1.5 }, { stage, rest: 'on' }]) {
      expect((await put('order-page', bad)).json()).toMatchObject({ status: 400, code: 'malformed' })
    }
    expect((await put('no-such-feature', { stage: 'push' })).json()).toMatchObject({
      status: 404,
      code: 'unknown_feature',
    })
    const list = await shop.app.inject({ url: '/crossfade/features', headers: operator })
    const rollout = { feature: 'order-page', stage: 'shadow', percent: 5, rest: 'off', version: expect.any(Number) }
    expect(list.json().features).toContainEqual(rollout)
  })
})
