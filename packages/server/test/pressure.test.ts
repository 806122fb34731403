import type { Socket as NetSocket } from 'node:net'
import { applyPatch, type EventMessage, type PatchOperation, type ServerMessage } from '@crossfade/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import type { CrossfadeOptions } from '../src/index.ts'
import { ofType, openShop, poll, type Shop } from './shop.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'

const maxOutboxBytes = 512 * 1024
const eventBytes = 64 * 1024
/** More than the kernel takes for a client that does not read, on any machine. */
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

/** Publishes until every stalled connection has been given up, and notes the most that waited for one of them. */
async function publishUntilGone(
  stalled: readonly NetSocket[],
  witness: Socket,
): Promise<{ sent: number; most: number }> {
  const pad = 'x'.repeat(eventBytes)
  let most = 0
  for (let n = 1; n <= mostEvents; n++) {
    await shop.app.crossfade.publish('ticks/big', 'tick', { n, pad })
    await expect.poll(() => eventsOf(witness.messages, 'ticks/big').length, { interval: 1 }).toBe(n)
    most = Math.max(most, ...stalled.map((socket) => socket.writableLength))
    if (
      stalled.every((socket) => socket.writableLength > 0 && shop.app.crossfade !== undefined) &&
      most > maxOutboxBytes
    )
      return { sent: n, most }
    if (stalled.every((socket) => socket.writableLength + eventBytes * 2 > maxOutboxBytes)) {
      // One more goes over the bound of each.
      for (let more = 1; more <= 2; more++) await shop.app.crossfade.publish('ticks/big', 'tick', { n: n + more, pad })
      return { sent: n + 2, most: Math.max(most, ...stalled.map((socket) => socket.writableLength)) }
    }
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

    const again = await Socket.greet(origin)
    for (const messages of [slow.messages, stream.messages]) {
      const had = eventsOf(messages, 'ticks/big')
      const cursor = had.at(-1)?.cursor as string
      again.send({ type: 'subscribe', id: cursor, topic: 'ticks/big', cursor })
      expect(await again.next('subscribed')).toMatchObject({ recovered: true, cursor })
      await expect.poll(() => eventsOf(again.messages, 'ticks/big').length, { timeout: 5_000 }).toBe(sent - had.length)
      const rest = eventsOf(again.messages, 'ticks/big')
      const numbers = [...had, ...rest].map((event) => (event.data as { n: number }).n)
      expect(numbers).toEqual(Array.from({ length: sent }, (_, n) => n + 1))
      again.messages.splice(0)
    }
  }, 30_000)
})
