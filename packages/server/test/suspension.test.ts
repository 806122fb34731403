import { parseCursor } from '@crossfade/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { memoryBroker, type Broker } from '../src/index.ts'
import { Endpoints, principalOf, until, versionsOf, type Handler } from './endpoints.ts'
import { HandFeed, ofType } from './shop.ts'
import type { Socket } from './socket.ts'
import { Stream } from './stream.ts'

let endpoints: Endpoints
let release: () => void
let hanging: Promise<void>
afterEach(async () => {
  release()
  await endpoints.close()
})

async function open(options: Parameters<typeof Endpoints.open>[0] = {}): Promise<void> {
  hanging = new Promise((resolve) => (release = () => resolve()))
  endpoints = await (await Endpoints.open(options)).listen()
}

const busy: Handler = (_, reply) => reply.code(503).send({ error: 'busy' })
const troubles: [string, Handler][] = [
  ['503', busy],
  ['429', (_, reply) => reply.code(429).send({ error: 'slow down' })],
  [
    'nothing in time',
    async () => {
      await hanging
      return {}
    },
  ],
]

/** The types of what a reader heard of a topic, without events of others. */
function heard(reader: Pick<Socket, 'messages'>, topic: string): string[] {
  return reader.messages.flatMap((message) => ('topic' in message && message.topic === topic ? [message.type] : []))
}

/** Where the last message of a type stands among all. */
function last({ messages }: Pick<Socket, 'messages'>, type: string, topic: string): number {
  return messages.findLastIndex((message) => message.type === type && 'topic' in message && message.topic === topic)
}

describe('a value that the broker does not take', () => {
  it('leaves the topic stale until it does (R55)', async () => {
    let isFull = false
    const memory = memoryBroker()
    const broker: Broker = {
      open: (key, kind, listener) => memory.open(key, kind, listener),
      read: (key, after, maxBytes) => memory.read(key, after, maxBytes),
      append: (key, append) => (isFull ? Promise.reject(new Error('The store is full.')) : memory.append(key, append)),
    }
    await open({ broker })
    const ann = await endpoints.socket('ann', 'mine')
    isFull = true
    endpoints.version = 2
    endpoints.app.crossfade.invalidate('mine')
    expect(await ann.next('stale')).toMatchObject({ topic: 'mine', reason: 'endpoint_failed' })
    isFull = false
    await ann.next('fresh')
    expect(versionsOf(ann.messages, 'mine').at(-1)).toBe(2)
    await memory.close?.()
  })
})

describe('authenticate that is in trouble itself', () => {
  it('ends no subscription, and is not a permission after a revocation (D13)', async () => {
    let isDown = false
    await open({
      reauthorizeMs: 50,
      grantMs: 0,
      authenticate: ({ headers }) => {
        if (isDown) throw new Error('The directory cannot be reached.')
        return principalOf(headers.authorization)
      },
    })
    const ann = await endpoints.socket('ann', 'mine')
    isDown = true
    const checks = endpoints.count('check /mine')
    await until(() => endpoints.count('check /mine') > checks + 1)
    expect(ofType(ann.messages, 'unsubscribed')).toEqual([])
    await endpoints.app.crossfade.revoke('ann')
    expect(await ann.next('stale')).toMatchObject({ reason: 'unverified' })
    isDown = false
    await ann.next('fresh')
    expect(ofType(ann.messages, 'unsubscribed')).toEqual([])
  })
})

describe('a subscription whose principal was revoked, while its endpoint cannot tell (D10, D13)', () => {
  it.each(troubles)(
    'gets nothing more while it answers %s, is told so, and misses nothing once it answers',
    async (_, trouble) => {
      await open()
      const socket = await endpoints.socket('ann', 'talk', 'mine', 'markers')
      const stream = await endpoints.stream('ann', { talk: {}, mine: {}, markers: {} })
      const { topics } = await endpoints.poll('ann', { talk: {}, markers: {} })
      const held = endpoints.poll('ann', topics, 20_000)
      await expect.poll(() => endpoints.connections()).toBe(3)
      // It has joined when another poll, which came later, is answered.
      await endpoints.poll('bob', { talk: {} })
      endpoints.trouble = trouble
      await endpoints.app.crossfade.revoke('ann')
      for (const reader of [socket, stream]) await until(() => ofType(reader.messages, 'stale').length === 2)
      const answer = await held
      expect(answer.messages).toMatchObject([{ type: 'stale', topic: 'talk', reason: 'unverified' }])
      for (let n = 0; n < 3; n++) await endpoints.change()
      await endpoints.settle(socket, stream)
      for (const { messages } of [socket, stream]) {
        expect([versionsOf(messages, 'talk'), versionsOf(messages, 'mine')]).toEqual([[], [1]])
        expect(ofType(messages, 'stale').map(({ reason }) => reason)).toEqual(['unverified', 'unverified'])
        expect(ofType(messages, 'unsubscribed')).toEqual([])
      }
      endpoints.trouble = null
      await endpoints.change()
      for (const reader of [socket, stream]) {
        await until(() => ofType(reader.messages, 'fresh').length === 2)
        await endpoints.settle(reader)
        expect(versionsOf(reader.messages, 'talk')).toEqual([2, 3, 4, 5])
        expect(versionsOf(reader.messages, 'mine').at(-1)).toBe(5)
        // It stands by what it has told.
        for (const topic of ['talk', 'mine'])
          expect(last(reader, 'fresh', topic)).toBeGreaterThan(last(reader, 'event', topic))
        const offsets = ofType(reader.messages, 'event')
          .filter(({ topic }) => topic === 'mine')
          .map(({ cursor }) => parseCursor(cursor).offset)
        expect(offsets).toEqual([...new Set(offsets)].toSorted((a, b) => a - b))
      }
      const again = await endpoints.poll('ann', answer.topics)
      expect(versionsOf(again.messages, 'talk')).toEqual([2, 3, 4, 5])
      await endpoints.change()
      for (const reader of [socket, stream]) {
        await until(() => versionsOf(reader.messages, 'mine').at(-1) === 6)
        await endpoints.settle(reader)
        expect(versionsOf(reader.messages, 'talk')).toEqual([2, 3, 4, 5, 6])
      }
    },
  )

  it('is told nothing where the endpoint answers immediately, and continues', async () => {
    await open()
    const socket = await endpoints.socket('ann', 'talk', 'mine', 'markers')
    await endpoints.app.crossfade.revoke('ann')
    await endpoints.change()
    await until(() => versionsOf(socket.messages, 'mine').at(-1) === 2)
    await endpoints.settle(socket)
    expect(versionsOf(socket.messages, 'talk')).toEqual([2])
    expect([...ofType(socket.messages, 'stale'), ...ofType(socket.messages, 'fresh')]).toEqual([])
  })

  it('is told at the stage hint only that there are changes', async () => {
    await open()
    const socket = await endpoints.socket('ann', 'markers')
    for (const topic of ['talk', 'mine']) socket.send({ type: 'subscribe', id: topic, topic, mode: 'changes' })
    await until(() => ofType(socket.messages, 'subscribed').length === 3)
    endpoints.trouble = busy
    await endpoints.app.crossfade.revoke('ann')
    await endpoints.change()
    await endpoints.change()
    endpoints.trouble = null
    await until(() => ofType(socket.messages, 'fresh').length === 2)
    await endpoints.settle(socket)
    expect(heard(socket, 'talk')).toEqual(['subscribed', 'stale', 'changed', 'fresh'])
    expect(ofType(socket.messages, 'event').every(({ topic }) => topic === 'markers')).toBe(true)
  })

  it('that is revoked again as it resumes is not lost', async () => {
    await open()
    const socket = await endpoints.socket('ann', 'talk', 'mine', 'markers')
    for (let round = 0; round < 20; round++) {
      endpoints.trouble = busy
      const first = endpoints.app.crossfade.revoke('ann')
      await endpoints.change()
      endpoints.trouble = null
      await first
      await Promise.all([endpoints.app.crossfade.revoke('ann'), endpoints.change()])
      await endpoints.app.crossfade.revoke('ann')
    }
    await until(() => versionsOf(socket.messages, 'mine').at(-1) === 41)
    await until(() => versionsOf(socket.messages, 'talk').length === 40)
    expect(versionsOf(socket.messages, 'talk')).toEqual(Array.from({ length: 40 }, (_, n) => n + 2))
    expect(heard(socket, 'talk').at(-1)).not.toBe('stale')
  }, 30_000)

  it('is told of a new epoch that began meanwhile', async () => {
    const feed = new HandFeed()
    await open({ feed })
    const socket = await endpoints.socket('ann', 'talk', 'mine', 'markers')
    await endpoints.change()
    await until(() => versionsOf(socket.messages, 'mine').at(-1) === 2)
    endpoints.trouble = busy
    await endpoints.app.crossfade.revoke('ann')
    endpoints.version = 7
    await feed.gap('the slot was lost')
    await until(() => heard(socket, 'markers').includes('reset'))
    expect(heard(socket, 'talk')).not.toContain('reset')
    endpoints.trouble = null
    await until(() => ofType(socket.messages, 'fresh').length === 2)
    await until(() => versionsOf(socket.messages, 'mine').at(-1) === 7)
    await endpoints.change()
    await until(() => versionsOf(socket.messages, 'talk').at(-1) === 8)
    expect(versionsOf(socket.messages, 'talk')).toEqual([2, 8])
    for (const topic of ['talk', 'mine'])
      expect(heard(socket, topic).filter((type) => type === 'reset')).toHaveLength(1)
  })

  it('may be left, and its connection closed, meanwhile; nothing comes after that, and nothing is asked for it', async () => {
    await open()
    const [left, closed] = [
      await endpoints.socket('ann', 'talk', 'mine', 'markers'),
      await endpoints.socket('ann', 'talk'),
    ]
    endpoints.trouble = busy
    await endpoints.app.crossfade.revoke('ann')
    left.send({ type: 'unsubscribe', id: 'talk' }, { type: 'unsubscribe', id: 'mine' })
    await until(() => ofType(left.messages, 'unsubscribed').length === 2)
    closed.close()
    await closed.closed
    await until(() => endpoints.count('check') > 0)
    endpoints.trouble = null
    const before = endpoints.runs.length
    await endpoints.change()
    await endpoints.settle(left)
    expect(heard(left, 'talk')).toEqual(['subscribed', 'stale', 'unsubscribed'])
    expect(endpoints.runs.slice(before)).toEqual([])
    // The topics are not kept for subscriptions that are gone.
    const again = await endpoints.socket('ann', 'talk', 'mine')
    await again.next('event')
    expect(versionsOf(again.messages, 'mine')).toEqual([2])
  })

  it('continues with a token that the endpoint accepts, and waits with one that it does not know', async () => {
    await open()
    const socket = await endpoints.socket('ann', 'talk', 'markers')
    endpoints.trouble = busy
    await endpoints.app.crossfade.revoke('ann')
    await until(() => heard(socket, 'talk').includes('stale'))
    const checks = endpoints.count('check')
    socket.send({ type: 'token', token: 'ann.2' })
    await until(() => endpoints.count('check') > checks)
    await endpoints.change()
    await endpoints.settle(socket)
    expect(versionsOf(socket.messages, 'talk')).toEqual([])
    endpoints.trouble = (request, reply) =>
      request.headers.authorization === 'Bearer ann.3' ? { version: 1 } : busy(request, reply)
    socket.send({ type: 'token', token: 'ann.3' })
    await until(() => heard(socket, 'talk').includes('fresh'))
    expect(versionsOf(socket.messages, 'talk')).toEqual([2])
  })

  it('does not concern another topic, which is refused, or another principal (R54)', async () => {
    await open()
    const ann = await endpoints.socket('ann', 'talk', 'mine', 'markers')
    const bob = await endpoints.socket('bob', 'talk')
    endpoints.trouble = (request, reply) => (request.url === '/mine' ? reply.code(403).send({}) : busy(request, reply))
    await endpoints.app.crossfade.revoke('ann')
    expect(await ann.next('unsubscribed')).toMatchObject({ topic: 'mine', code: 'forbidden' })
    await endpoints.change()
    await until(() => versionsOf(bob.messages, 'talk').length === 1)
    await endpoints.settle(ann)
    expect(versionsOf(ann.messages, 'talk')).toEqual([])
    endpoints.trouble = null
    await until(() => versionsOf(ann.messages, 'talk').length === 1)
  })

  it('is told that a value became stale meanwhile', async () => {
    await open()
    const socket = await endpoints.socket('ann', 'news', 'markers')
    // A check may be short; a load of the public value fails after it began.
    endpoints.trouble = (request, reply) => (request.crossfade === 'load' ? busy(request, reply) : { version: 1 })
    const revoked = endpoints.app.crossfade.revoke('ann')
    endpoints.app.crossfade.invalidate('news')
    await revoked
    await until(() => heard(socket, 'news').includes('stale'))
    expect(ofType(socket.messages, 'stale')).toMatchObject([{ topic: 'news', reason: 'endpoint_failed' }])
    endpoints.trouble = null
    await until(() => heard(socket, 'news').includes('fresh'))
  })
})

it('a page of history that is being read when its principal is revoked is not sent (D10)', async () => {
  const broker = memoryBroker()
  let gate = Promise.resolve()
  let reads = 0
  const slow: Broker = {
    open: (key, kind, listener) => broker.open(key, kind, listener),
    append: (key, append) => broker.append(key, append),
    read: async (key, after, maxBytes) => {
      reads += 1
      await gate
      return broker.read(key, after, maxBytes)
    },
    reset: async (reason, logs) => broker.reset?.(reason, logs),
  }
  await open({ broker: slow })
  const start = (await endpoints.poll('ann', { talk: {} })).topics['talk']?.cursor
  await endpoints.change()
  let pass = (): void => {}
  gate = new Promise((resolve) => (pass = () => resolve()))
  const socket = await endpoints.socket('ann', 'markers')
  const before = reads
  socket.send({ type: 'subscribe', id: 'talk', topic: 'talk', cursor: start })
  await until(() => reads > before)
  endpoints.trouble = busy
  await endpoints.app.crossfade.revoke('ann')
  pass()
  await until(() => heard(socket, 'talk').includes('stale'))
  await broker.append('markers', { kind: 'event', event: 'mark', data: 'null', at: Date.now() })
  await until(() => versionsOf(socket.messages, 'markers').length === 1)
  expect(heard(socket, 'talk')).toEqual(['subscribed', 'stale'])
  endpoints.trouble = null
  await until(() => heard(socket, 'talk').includes('fresh'))
  expect(versionsOf(socket.messages, 'talk')).toEqual([2])
  await broker.close?.()
})

describe('a slow reader that is revoked while it recovers (D10)', () => {
  it.each(['refuses', 'cannot tell'])(
    'is checked then, and gets nothing that came later: the endpoint %s',
    async (what) => {
      await open({ limits: { maxOutboxBytes: 256 * 1024, historyBytes: 512 * 1024 * 1024, historyCount: 10_000 } })
      const { app } = endpoints
      const start = (await endpoints.poll('ann', { talk: {} })).topics['talk']?.cursor
      const pad = 'x'.repeat(64 * 1024)
      for (let n = 1; n <= 600; n++) await app.crossfade.publish('talk', 'said', { n, pad })
      const stream = await Stream.open(`${endpoints.origin}/crossfade/sse`, {
        headers: { authorization: 'Bearer ann' },
        body: { topics: { talk: { cursor: start } } },
        paused: true,
      })
      // The recovery stops when the kernel takes no more.
      const sides = (): number => [...sockets].reduce((sum, side) => sum + side.bytesWritten, 0)
      const sockets = new Set<{ bytesWritten: number }>()
      app.server.on('connection', (side) => sockets.add(side))
      for (let before = -1; sides() !== before;) {
        before = sides()
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      endpoints.trouble = what === 'refuses' ? (_, reply) => reply.code(403).send({}) : busy
      const asked = endpoints.count('check /talk')
      await app.crossfade.revoke('ann')
      expect(endpoints.count('check /talk')).toBe(asked + 1)
      await app.crossfade.publish('talk', 'said', { n: 'later' })
      stream.read()
      if (what === 'refuses') await until(() => ofType(stream.messages, 'unsubscribed').length === 1)
      else await until(() => ofType(stream.messages, 'stale').length === 1)
      expect(stream.text).not.toContain('later')
      if (what === 'refuses') return
      endpoints.trouble = null
      await until(() => stream.text.includes('later'), 20_000)
      expect(versionsOf(stream.messages, 'talk')).toEqual([...Array.from({ length: 600 }, (_, n) => n + 1), 'later'])
      stream.close()
    },
    40_000,
  )
})
