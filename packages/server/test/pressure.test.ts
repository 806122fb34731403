import type { Socket as NetSocket } from 'node:net'
import { applyPatch, type EventMessage, type PatchOperation, type ServerMessage } from '@crossfade/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import type { CrossfadeOptions } from '../src/index.ts'
import { ofType, openShop, poll, type Shop } from './shop.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'

const maxOutboxBytes = 512 * 1024
const eventBytes = 64 * 1024
/** More than any kernel buffers for a client that does not read. */
const mostEvents = 1_000

let shop: Shop
let origin: string
/** The server's side of each connection, in the order in which they came. */
let accepted: NetSocket[]
afterEach(() => shop.app.close())

async function open(options: CrossfadeOptions = {}): Promise<void> {
  accepted = []
  shop = await openShop({
    ...options,
    limits: { maxOutboxBytes, historyBytes: 512 * 1024 * 1024, maxConnectionsPerAddress: 2_000, ...options.limits },
  })
  shop.app.server.on('connection', (socket) => accepted.push(socket))
  origin = await shop.listen()
}

function lastAccepted(): NetSocket {
  return accepted.at(-1) as NetSocket
}

function eventsOf(messages: readonly ServerMessage[], topic: string): EventMessage[] {
  return ofType(messages, 'event').filter((event) => event.topic === topic)
}

function offsetOf(cursor: string): number {
  return Number(cursor.slice(-12))
}

/** Publishes until nothing more is written to any stalled connection, and notes the most that waited for one of them. */
async function publishUntilGone(
  stalled: readonly NetSocket[],
  witness: Socket,
): Promise<{ sent: number; most: number }> {
  const pad = 'x'.repeat(eventBytes)
  const written = (): string => stalled.map((socket) => socket.bytesWritten).join()
  let most = 0
  let before = ''
  let same = 0
  for (let n = 1; n <= mostEvents; n++) {
    await shop.app.crossfade.publish('ticks/big', 'tick', { n, pad })
    await witness.next('event')
    most = Math.max(most, ...stalled.map((socket) => socket.writableLength))
    same = written() === before ? same + 1 : 0
    before = written()
    if (same === 5) return { sent: n, most }
  }
  throw new Error('the stalled connections never filled')
}

describe('a slow consumer (D6)', () => {
  it('of a log is told 4413 on WebSocket and SSE, waits in bounded memory, harms nobody, and resumes without loss (F17)', async () => {
    await open()
    const fast = await Promise.all([1, 2, 3].map(() => Socket.greet(origin)))
    const witness = fast[0] as Socket
    for (const socket of fast) {
      socket.send({ type: 'subscribe', id: 't', topic: 'ticks/big' })
      await socket.next('subscribed')
    }
    const slow = await Socket.greet(origin)
    const slowSide = lastAccepted()
    slow.send({ type: 'subscribe', id: 't', topic: 'ticks/big' })
    await slow.next('subscribed')
    slow.raw.pause()
    const stream = await Stream.open(`${origin}/crossfade/sse`, { body: { topics: { 'ticks/big': {} } }, paused: true })
    const streamSide = lastAccepted()

    const { sent, most } = await publishUntilGone([slowSide, streamSide], witness)
    expect(most).toBeLessThan(maxOutboxBytes + 2 * eventBytes)
    for (const socket of fast) {
      await expect.poll(() => eventsOf(socket.messages, 'ticks/big').length).toBe(sent)
      expect(ofType(socket.messages, 'bye')).toEqual([])
    }

    slow.raw.resume()
    stream.read()
    expect((await slow.closed).code).toBe(4413)
    await stream.closed
    expect(ofType(slow.messages, 'bye')).toMatchObject([{ code: 4413 }])
    expect(ofType(stream.messages, 'bye')).toMatchObject([{ code: 4413 }])

    for (const messages of [slow.messages, stream.messages]) {
      const had = eventsOf(messages, 'ticks/big')
      const cursor = had.at(-1)?.cursor as string
      const again = await Socket.greet(origin)
      again.send({ type: 'subscribe', id: cursor, topic: 'ticks/big', cursor })
      expect(await again.next('subscribed')).toMatchObject({ recovered: true, cursor })
      await expect.poll(() => eventsOf(again.messages, 'ticks/big').length).toBe(sent - had.length)
      const rest = eventsOf(again.messages, 'ticks/big')
      const numbers = [...had, ...rest].map((event) => (event.data as { n: number }).n)
      expect(numbers).toEqual(Array.from({ length: sent }, (_, n) => n + 1))
    }
  })

  it('of a value gets the newest once it reads, without a close, from bounded memory (R5, F17)', async () => {
    await open()
    const pad = (version: number): string => String(version % 10).repeat(eventBytes)
    const put = async (version: number): Promise<void> => {
      shop.orders.set(1, { id: 1, version, pad: pad(version) })
      await shop.feed.emit('orders', { after: { id: 1, version } })
    }
    const fast = await Socket.greet(origin)
    fast.send({ type: 'subscribe', id: 'o', topic: 'orders/1' })
    await fast.next('event')
    const slow = await Socket.greet(origin)
    const slowSide = lastAccepted()
    slow.send({ type: 'subscribe', id: 'o', topic: 'orders/1' })
    await slow.next('event')
    slow.raw.pause()
    const stream = await Stream.open(`${origin}/crossfade/sse?topic=orders/1`, { paused: true })
    const streamSide = lastAccepted()

    let most = 0
    let version = 1
    for (let same = 0, before = ''; same < 5 && version < mostEvents;) {
      await put((version += 1))
      expect((await fast.next('event')).event).toBe('snapshot')
      most = Math.max(most, slowSide.writableLength, streamSide.writableLength)
      const written = `${slowSide.bytesWritten} ${streamSide.bytesWritten}`
      same = written === before ? same + 1 : 0
      before = written
    }
    expect(version).toBeLessThan(mostEvents)
    expect(most).toBeLessThan(maxOutboxBytes)
    slow.raw.resume()
    stream.read()
    for (const reader of [slow, stream]) {
      await expect.poll(() => valueOf(reader.messages)).toMatchObject({ id: 1, version })
      expect(eventsOf(reader.messages, 'orders/1').length).toBeLessThan(version)
      expect(ofType(reader.messages, 'bye')).toEqual([])
    }
    // Live again: the next change comes as any other.
    await put((version += 1))
    for (const reader of [slow, stream]) await expect.poll(() => valueOf(reader.messages)).toMatchObject({ version })
  })

  it('catches up with the newest value even if everything that waited went out together (R5)', async () => {
    await open({ limits: { maxOutboxBytes: 16_384 } })
    const socket = await Socket.greet(origin)
    const topics = [1, 2, 3, 4]
    const put = (version: number): void => {
      for (const id of topics) shop.orders.set(id, { id, version, pad: String(version).repeat(3_000) })
    }
    put(1)
    socket.send(...topics.map((id) => ({ type: 'subscribe', id: String(id), topic: `orders/${id}` })))
    await expect.poll(() => ofType(socket.messages, 'event').length).toBe(4)
    put(2)
    await Promise.all(topics.map((id) => shop.feed.emit('orders', { after: { id, version: 2 } })))
    for (const id of topics)
      await expect.poll(() => valueOf(eventsOf(socket.messages, `orders/${id}`))).toMatchObject({ version: 2 })
  })

  it('cannot make the server keep its own answers without end (F17)', async () => {
    // The close frame waits until it is read, however long all these requests take.
    await open({ limits: { messagesPerSecond: 100_000, messageBurst: 100_000, helloMs: 60_000 } })
    shop.app.crossfade.rpc('echo', {}, ({ body }) => body)
    const socket = await Socket.greet(origin)
    const side = lastAccepted()
    socket.raw.pause()
    const params = 'x'.repeat(60_000)
    let most = 0
    for (let n = 0; n < mostEvents && !side.destroyed; n++) {
      const id = String(n).padStart(22, '0')
      await new Promise((resolve) =>
        socket.raw.send(JSON.stringify({ type: 'request', id, method: 'echo', params }), resolve),
      )
      await new Promise((resolve) => setImmediate(resolve))
      most = Math.max(most, side.writableLength)
    }
    expect(most).toBeLessThan(2 * maxOutboxBytes)
    socket.raw.resume()
    expect((await socket.closed).code).toBe(4413)
  })

  it('holds what it subscribes to until there is room, however many topics (R9)', async () => {
    await open()
    for (const id of ids(1, 90)) shop.orders.set(id, { id, version: 1, pad: 'x'.repeat(4 * eventBytes) })
    const socket = await Socket.greet(origin)
    const side = lastAccepted()
    socket.raw.pause()
    socket.send(...ids(1, 90).map((id) => ({ type: 'subscribe', id: String(id), topic: `orders/${id}` })))
    await expect.poll(() => shop.runs.order).toBe(90)
    // The loads are done; their values are delivered within a tick or two.
    for (let tick = 0; tick < 10; tick++) await new Promise((resolve) => setImmediate(resolve))
    expect(side.writableLength).toBeLessThan(maxOutboxBytes)
    socket.raw.resume()
    await expect.poll(() => ofType(socket.messages, 'event').length).toBe(90)
    expect(ofType(socket.messages, 'error')).toEqual([])
  })

  it('gets a poll cut at its bound, and all of it by asking again (R9, R20)', async () => {
    await open({ limits: { maxAnswerBytes: 200_000 } })
    for (const id of ids(1, 12)) shop.orders.set(id, { id, version: 1, pad: 'x'.repeat(eventBytes) })
    const wanted: Record<string, object> = Object.fromEntries(ids(1, 12).map((id) => [`orders/${id}`, {}]))
    const seen = new Set<string>()
    let more = true
    for (let round = 0; more && round < 12; round++) {
      const answer = await poll(shop, wanted)
      expect(JSON.stringify(answer).length).toBeLessThan(200_000 + 2 * eventBytes)
      for (const event of ofType(answer.messages, 'event')) {
        expect(seen.has(event.topic)).toBe(false)
        seen.add(event.topic)
        wanted[event.topic] = { cursor: event.cursor, hash: event.hash }
      }
      expect(ofType(answer.messages, 'error')).toEqual([])
      more = answer.more
    }
    expect({ more, seen: seen.size }).toEqual({ more: false, seen: 12 })
  })

  it('gets a held poll cut at its bound, and the rest of a log by asking again (R9, R20)', async () => {
    await open({ limits: { maxAnswerBytes: 200_000, lingerMs: 50 } })
    let cursors = (await poll(shop, { 'ticks/a': {}, 'ticks/b': {}, 'ticks/c': {} })).topics
    const held = poll(shop, cursors, { wait: 5_000 })
    const pad = 'x'.repeat(eventBytes)
    const topics = ['ticks/a', 'ticks/b', 'ticks/c']
    await expect.poll(async () => (await shop.app.inject('/crossfade/health')).json()).toMatchObject({ connections: 1 })
    await Promise.all(
      ids(1, 10).flatMap((n) => topics.map((topic) => shop.app.crossfade.publish(topic, 'tick', { n, pad }))),
    )
    const numbers: Record<string, number[]> = { 'ticks/a': [], 'ticks/b': [], 'ticks/c': [] }
    let answer = await held
    for (let round = 0; round < 30; round++) {
      for (const event of ofType(answer.messages, 'event')) numbers[event.topic]?.push((event.data as { n: number }).n)
      expect(JSON.stringify(answer).length).toBeLessThan(200_000 + 2 * eventBytes)
      if (!answer.more) break
      cursors = answer.topics
      answer = await poll(shop, cursors)
    }
    for (const topic of topics) expect(numbers[topic]).toEqual(ids(1, 10))
  })

  it('that is being closed is sent nothing more, and the server survives (F17)', async () => {
    const crashes: unknown[] = []
    const noteCrash = (error: unknown): void => void crashes.push(error)
    process.on('uncaughtException', noteCrash)
    await open({ limits: { heartbeatMs: 500, helloMs: 2_000 } })
    const stream = await Stream.open(`${origin}/crossfade/sse`, {
      body: { topics: { 'ticks/big': {}, 'ticks/small': {} } },
      paused: true,
    })
    const side = lastAccepted()
    const witness = await Socket.greet(origin)
    witness.send({ type: 'subscribe', id: 'w', topic: 'ticks/big' })
    await witness.next('subscribed')
    await publishUntilGone([side], witness)
    const closed = new Promise((resolve) => side.once('close', resolve))
    // The socket outlives the answer: what came after its end would be the beginning of the next one.
    const { bytesWritten } = side
    await shop.app.crossfade.publish('ticks/small', 'tick', 1)
    shop.app.crossfade.rollout.set('order-page', { stage: 'push' })
    await witness.next('stage')
    expect(side.bytesWritten).toBe(bytesWritten)
    await closed
    expect((await shop.app.inject('/crossfade/health')).statusCode).toBe(200)
    stream.close()
    process.off('uncaughtException', noteCrash)
    expect(crashes).toEqual([])
  })
})

function ids(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, n) => from + n)
}

/** The value that a client has after these messages of one topic. */
function valueOf(messages: readonly ServerMessage[]): unknown {
  let value: unknown
  let offset = 0
  for (const event of ofType(messages, 'event')) {
    expect(offsetOf(event.cursor)).toBeGreaterThan(offset)
    offset = offsetOf(event.cursor)
    value = event.event === 'patch' ? applyPatch(value, event.data as PatchOperation[]) : event.data
  }
  return value
}
