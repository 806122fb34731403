import { hashValue, parseHeader } from '@crossfade/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryBroker, type Broker } from '../src/index.ts'
import { ann, ofType, openShop, type Shop } from './shop.ts'
import { Socket } from './socket.ts'

let shop: Shop
let origin: string
let broker: Broker
/** Reads under way, as with a broker outside this process. */
let reads: (() => void)[]
/** Called just before a read gives its answer. */
let whenRead: (() => void) | null

beforeEach(async () => {
  reads = []
  whenRead = null
  const memory = memoryBroker()
  broker = {
    open: (key, kind, listener) => memory.open(key, kind, listener),
    append: (key, append) => memory.append(key, append),
    reset: (reason) => memory.reset?.(reason) ?? Promise.resolve(),
    async read(key, after, maxBytes) {
      const page = await memory.read(key, after, maxBytes)
      await new Promise<void>((resolve) => reads.push(resolve))
      whenRead?.()
      return page
    },
  }
  shop = await openShop({ broker })
  origin = await shop.listen()
})
afterEach(() => shop.app.close())

async function finishRead(): Promise<void> {
  await expect.poll(() => reads.length).toBeGreaterThan(0)
  reads.shift()?.()
}

/** Lets every read finish, now and from now on. */
function finishReads(): () => void {
  const timer = setInterval(() => {
    for (const finish of reads.splice(0)) finish()
  }, 1)
  return () => clearInterval(timer)
}

function orderOf(version: number): { id: number; version: number; pad: string } {
  return { id: 1, version, pad: 'p'.repeat(300) }
}

function after(microtasks: number, run: () => void): void {
  if (microtasks === 0) run()
  else queueMicrotask(() => after(microtasks - 1, run))
}

describe('joining a topic while it changes', () => {
  it('misses no version of a value that comes during the recovery (R2, R6)', async () => {
    const keeper = await Socket.greet(origin)
    keeper.send({ type: 'subscribe', id: 'k', topic: 'orders/1' })
    await keeper.next('event')
    const header = parseHeader(String((await shop.app.inject('/api/orders/1')).headers['crossfade']))
    await shop.putOrder(1, 2)
    await keeper.next('event')

    const socket = await Socket.greet(origin)
    socket.send({ type: 'subscribe', id: 's', topic: 'orders/1', cursor: header?.cursor, hash: header?.hash })
    await expect.poll(() => reads.length).toBe(1)
    await shop.putOrder(1, 3)
    await keeper.next('event')
    const stop = finishReads()
    await expect.poll(() => JSON.stringify(socket.messages)).toContain('3')
    await expect
      .poll(() => ofType(socket.messages, 'event').at(-1)?.cursor)
      .toBe(ofType(keeper.messages, 'event').at(-1)?.cursor)
    stop()
  })

  it('misses no version of a value that comes between two steps of the recovery (R2, R6)', async () => {
    const stop = finishReads()
    const put = (version: number): void => void shop.orders.set(1, orderOf(version))
    put(1)
    const keeper = await Socket.greet(origin)
    keeper.send({ type: 'subscribe', id: 'k', topic: 'orders/1' })
    await keeper.next('event')
    for (let version = 2; version <= 40; version += 2) {
      const header = parseHeader(String((await shop.app.inject('/api/orders/1')).headers['crossfade']))
      put(version)
      await shop.feed.emit('orders', { after: { id: 1, version } })
      await keeper.next('event')
      // The next version comes a few microtasks after the read, one more each time.
      whenRead = () => {
        whenRead = null
        const value = orderOf(version + 1)
        put(version + 1)
        const [data, hash] = [JSON.stringify(value), hashValue(value)]
        const patch = JSON.stringify([{ op: 'replace', path: '/version', value: version + 1 }])
        after(
          version / 2 - 1,
          () => void broker.append('orders/1', { kind: 'value', value: { data, hash, at: 1 }, patch }),
        )
      }
      const socket = await Socket.greet(origin)
      socket.send({ type: 'subscribe', id: 's', topic: 'orders/1', cursor: header?.cursor, hash: header?.hash })
      const newest = (await keeper.next('event')).cursor
      await expect.poll(() => ofType(socket.messages, 'event').at(-1)?.cursor).toBe(newest)
      const events = ofType(socket.messages, 'event')
      const offsets = events.filter(({ event }) => event === 'patch').map(({ cursor }) => Number(cursor.slice(-12)))
      expect(offsets).toEqual(offsets.map((_, n) => (offsets[0] ?? 0) + n))
      socket.close()
    }
    stop()
  })

  it('delivers each event of a log that comes during the recovery once (R2, R3)', async () => {
    const publish = (n: number): Promise<unknown> =>
      broker.append('ticks/a', { kind: 'event', event: 'tick', data: String(n), at: 1 })
    await publish(1)
    const first = await Socket.greet(origin)
    first.send({ type: 'subscribe', id: 'f', topic: 'ticks/a' })
    const { cursor } = await first.next('subscribed')
    await publish(2)
    const socket = await Socket.greet(origin)
    socket.send({ type: 'subscribe', id: 's', topic: 'ticks/a', cursor })
    await expect.poll(() => reads.length).toBe(1)
    await publish(3)
    await finishRead()
    await expect.poll(() => reads.length).toBe(1)
    await publish(4)
    const stop = finishReads()
    await expect.poll(() => ofType(socket.messages, 'event').length).toBe(3)
    await publish(5)
    await expect.poll(() => ofType(socket.messages, 'event').map(({ data }) => data)).toEqual([2, 3, 4, 5])
    stop()
  })

  it('starts over when the epoch changes during the recovery (R4)', async () => {
    await shop.say('a', 'one')
    const first = await Socket.greet(origin, 'ann-token')
    first.send({ type: 'subscribe', id: 'f', topic: 'rooms/a/messages' })
    const { cursor } = await first.next('subscribed')
    await shop.say('a', 'two')
    const socket = await Socket.greet(origin, 'ann-token')
    socket.send({ type: 'subscribe', id: 's', topic: 'rooms/a/messages', cursor })
    await expect.poll(() => reads.length).toBe(1)
    await shop.feed.gap('the slot was lost')
    const stop = finishReads()
    const reset = await socket.next('reset')
    expect(reset.cursor.slice(0, 12)).not.toBe(cursor.slice(0, 12))
    await shop.say('a', 'three')
    expect(await socket.next('event')).toMatchObject({ data: { text: 'three' } })
    // What was read before the reset may come before it, in its own epoch; nothing of it comes after.
    const after = socket.messages.slice(socket.messages.indexOf(reset))
    expect(ofType(after, 'event').length).toBe(1)
    expect((await shop.app.inject({ url: '/api/rooms/a/messages', headers: ann })).json().messages.length).toBe(3)
    stop()
  })
})
