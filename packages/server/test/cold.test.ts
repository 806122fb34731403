import { memoryBroker } from '../src/index.ts'
import { parseHeader } from '@crossfade/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { ofType, openShop, poll, type Shop } from './shop.ts'
import { Socket } from './socket.ts'

let shop: Shop
afterEach(() => shop.app.close())

async function untilCold(): Promise<void> {
  await expect.poll(async () => (await shop.app.inject('/crossfade/health')).json()).toMatchObject({ topics: 0 })
}

/** Reads the endpoint as a client does: the answer's cursor and hash. */
async function read(url: string): Promise<{ cursor: string; hash: string }> {
  const header = parseHeader(String((await shop.app.inject(url)).headers['crossfade']))
  return { cursor: header?.cursor ?? '', hash: header?.hash ?? '' }
}

describe('a topic that nobody uses', () => {
  it('is forgotten, and an earlier cursor is not recovered (R8)', async () => {
    shop = await openShop({ warmMs: 20 })
    const before = await read('/api/orders/1')
    await untilCold()
    await shop.putOrder(1, 2)
    const answer = await poll(shop, { 'orders/1': before })
    expect(ofType(answer.messages, 'subscribed')).toMatchObject([{ recovered: false }])
    expect(ofType(answer.messages, 'event')).toMatchObject([{ event: 'snapshot', data: { id: 1, version: 2 } }])
  })

  it('makes room for others when there are too many, and topics with subscribers stay (D8)', async () => {
    shop = await openShop({ limits: { maxWarmTopics: 10 } })
    for (let id = 2; id <= 100; id++) shop.orders.set(id, { id, version: 1 })
    const origin = await shop.listen()
    const listener = await Socket.greet(origin)
    listener.send({ type: 'subscribe', id: 'x', topic: 'orders/1' })
    await listener.next('event')
    for (let id = 2; id <= 100; id++) await read(`/api/orders/${id}`)
    const { topics } = (await shop.app.inject('/crossfade/health')).json<{ topics: number }>()
    expect(topics).toBeLessThanOrEqual(11)
    await shop.putOrder(1, 2)
    expect(await listener.next('event')).toMatchObject({ topic: 'orders/1' })
    const newest = await read('/api/orders/100')
    const answer = await poll(shop, { 'orders/100': newest })
    expect(ofType(answer.messages, 'subscribed')).toEqual([])
  })

  it('does not take the cursor of another topic, which went cold at a later offset, for its own (R4)', async () => {
    shop = await openShop({ warmMs: 20 })
    shop.orders.set(2, { id: 2, version: 1 })
    const early = await read('/api/orders/2')
    for (let version = 2; version < 9; version++) {
      await read('/api/orders/1')
      await shop.putOrder(1, version)
    }
    await untilCold()
    await shop.putOrder(2, 2)
    const late = await read('/api/orders/2')
    expect(late.cursor > early.cursor).toBe(true)
    const answer = await poll(shop, { 'orders/2': early })
    expect(ofType(answer.messages, 'subscribed')).toMatchObject([{ recovered: false }])
  })

  it('keeps what it had of a log, whose history outlives its listeners (R3)', async () => {
    shop = await openShop({ warmMs: 20 })
    const { topics } = await poll(shop, { 'ticks/a': {} })
    await untilCold()
    await shop.app.crossfade.publish('ticks/a', 'tick', 1)
    const answer = await poll(shop, topics)
    expect(ofType(answer.messages, 'event')).toMatchObject([{ data: 1 }])
    expect(answer.topics['ticks/a']?.cursor).not.toBe(topics['ticks/a']?.cursor)
  })

  it('does not recover a cursor that is older than the history of a log, not even in part (R4)', async () => {
    shop = await openShop({ limits: { historyCount: 3 } })
    const { topics } = await poll(shop, { 'ticks/a': {} })
    for (let n = 1; n <= 4; n++) await shop.app.crossfade.publish('ticks/a', 'tick', n)
    const answer = await poll(shop, topics)
    expect(ofType(answer.messages, 'subscribed')).toMatchObject([{ recovered: false }])
    expect([ofType(answer.messages, 'event'), ofType(answer.messages, 'reset')]).toEqual([[], []])
    expect(answer.topics['ticks/a']?.cursor.slice(-1)).toBe('4')
  })

  it('is read again by a client that comes after a change without subscribers, with an earlier cursor or none (R8)', async () => {
    shop = await openShop()
    const before = await poll(shop, { 'orders/1': {} })
    const [known] = ofType(before.messages, 'event')
    await shop.putOrder(1, 2)
    for (const position of [{}, { cursor: known?.cursor }, { cursor: known?.cursor, hash: known?.hash }]) {
      const answer = await poll(shop, { 'orders/1': position })
      expect(ofType(answer.messages, 'event')).toMatchObject([{ event: 'snapshot', data: { id: 1, version: 2 } }])
    }
  })

  it('tells a reader whose answer was overtaken by a change that nobody listened to (R8)', async () => {
    shop = await openShop()
    const before = await read('/api/orders/1')
    await shop.putOrder(1, 2)
    const answer = await poll(shop, { 'orders/1': { cursor: before.cursor } })
    expect(ofType(answer.messages, 'event')).toMatchObject([{ event: 'snapshot', data: { id: 1, version: 2 } }])
  })
})

it('a published event has the cursor of its own epoch, although the source is lost in between (R4)', async () => {
  const broker = memoryBroker()
  const append = broker.append.bind(broker)
  const states: (string | undefined)[] = []
  broker.append = async (key, what) => {
    const appended = await append(key, what)
    states.push(appended?.epoch)
    await broker.reset?.('the source was lost')
    return appended
  }
  const lossy = await openShop({ broker })
  const cursor = await lossy.app.crossfade.publish('ticks/a', 'tick', 1)
  expect(cursor?.slice(0, 12)).toBe(states[0])
  await lossy.app.close()
})
