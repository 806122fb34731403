import { CrossfadeError, parseHeader } from '@crossfade/protocol'
import Fastify from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade, { type CrossfadeOptions } from '../src/index.ts'
import { ofType, openShop, poll, type Shop } from './shop.ts'
import { Socket } from './socket.ts'
import { StateFeed } from './state-feed.ts'
import { Stream } from './stream.ts'

let shop: Shop | null = null
afterEach(async () => {
  await shop?.app.close()
  shop = null
})

const down = new CrossfadeError('feed_unavailable', 'The database at db/shop cannot be followed: ECONNREFUSED.')
const operator = { authorization: 'Bearer operator' }
const rollout = { 'order-page': { stage: 'push' } } as const

async function open(feed: StateFeed, options: CrossfadeOptions = {}): Promise<Shop> {
  shop = await openShop({ feed, rollout, ...options })
  await shop.app.ready()
  return shop
}

const headerOf = async ({ app }: Shop): Promise<ReturnType<typeof parseHeader>> =>
  parseHeader(String((await app.inject('/api/orders/1')).headers['crossfade']))

describe('an application whose feed cannot start (D17)', () => {
  it('starts, and suspends every stage: in the header, for new clients, and in refusals (R62)', async () => {
    const product = await open(new StateFeed(down))
    const answer = await product.app.inject('/api/orders/1')
    expect(answer.json()).toEqual({ id: 1, version: 1 })
    expect(parseHeader(String(answer.headers['crossfade']))).toMatchObject({ stage: 'off', percent: 100, rest: 'off' })
    const { messages } = await poll(product, { 'orders/1': {} }, { stagesSince: 0, wait: 20_000 })
    expect(ofType(messages, 'stage').find(({ feature }) => feature === 'order-page')).toMatchObject({ stage: 'off' })
    expect(ofType(messages, 'error')).toMatchObject([{ topic: 'orders/1', code: 'overloaded' }])
  })

  it('answers a request with Prefer: wait immediately, as the handler does', async () => {
    const product = await open(new StateFeed(down))
    const { etag } = (await product.app.inject('/api/orders/1')).headers
    const held = await product.app.inject({
      url: '/api/orders/1',
      headers: { prefer: 'wait=20', 'if-none-match': String(etag) },
    })
    expect(held.statusCode).toBe(304)
    expect(held.headers['preference-applied']).toBeUndefined()
  })

  it('pushes by itself once the feed follows its source, and tells connections as with any change of a rollout', async () => {
    const feed = new StateFeed(down)
    const product = await open(feed)
    const socket = await Socket.greet(await product.listen())
    const off = await headerOf(product)
    feed.failure = null
    expect(await socket.next('stage')).toMatchObject({ feature: 'order-page', stage: 'push' })
    const on = await headerOf(product)
    expect(on).toMatchObject({ stage: 'push' })
    expect(on?.version).toBeGreaterThan(off?.version ?? Infinity)
    socket.send({ type: 'subscribe', id: 'a', topic: 'orders/1' })
    await socket.next('subscribed')
    await feed.emit('orders', { after: { id: 1, version: 1 } })
    socket.close()
  })

  it('tells why once in the log, and to the operator alone at /health, which stays 200', async () => {
    const feed = new StateFeed(down)
    const lines: string[] = []
    const app = Fastify({ logger: { level: 'info', stream: { write: (line: string) => void lines.push(line) } } })
    await app.register(crossfade, { feed, operator: ({ headers }) => headers.authorization === operator.authorization })
    await app.ready()
    const failedStarts = async (): Promise<number> =>
      (await app.inject({ url: '/crossfade/health', headers: operator })).json().feed.failedStarts
    await expect.poll(failedStarts, { timeout: 20_000 }).toBeGreaterThan(2)
    const visitor = await app.inject('/crossfade/health')
    expect(visitor.statusCode).toBe(200)
    expect(visitor.json()).toMatchObject({ ok: false, push: 'off', feed: { state: 'stopped' } })
    expect(visitor.payload).not.toContain('ECONNREFUSED')
    const told = await app.inject({ url: '/crossfade/health', headers: operator })
    expect(told.json().feed.lastError).toBe(down.message)
    const about = (words: string): string[] => lines.filter((line) => line.includes(words))
    expect(about('cannot follow')).toHaveLength(1)
    feed.failure = new CrossfadeError('feed_not_logical', 'The database has wal_level=replica.')
    await expect.poll(() => about('cannot follow').length, { timeout: 20_000 }).toBe(2)
    feed.failure = null
    await expect.poll(() => about('follows its source again'), { timeout: 20_000 }).toHaveLength(1)
    expect((await app.inject('/crossfade/health')).json()).toMatchObject({ ok: true, push: 'open' })
    await app.close()
  })

  it('starts while the source hangs, says nothing about push, and ends immediately', async () => {
    const feed = new StateFeed('hang')
    const app = Fastify({ pluginTimeout: 2_000 })
    await app.register(crossfade, { feed, rollout })
    app.get('/api/a', { config: { crossfade: { topic: 'a', audience: 'public' } } }, () => 1)
    await app.ready()
    expect((await app.inject('/api/a')).headers['crossfade']).toBeUndefined()
    expect((await app.inject('/crossfade/health')).json()).toMatchObject({ ok: true, push: 'starting' })
    await app.close()
    expect(feed.calls).toEqual(['start standby', 'stop'])
  })

  it.each([
    new CrossfadeError('invalid_options', 'The feed is started already.'),
    new TypeError('x is not a function'),
  ])('does not start with a mistake in code: %s', async (mistake) => {
    const feed = new StateFeed(mistake)
    await expect(open(feed)).rejects.toThrow(mistake.message)
    expect(feed.calls.filter((call) => call.startsWith('start'))).toHaveLength(1)
  })
})

describe("an application with feedFailure: 'throw'", () => {
  it("does not start, with the feed's own error", async () => {
    const feed = new StateFeed(down)
    await expect(open(feed, { feedFailure: 'throw' })).rejects.toBe(down)
    expect(feed.calls.slice(0, 2)).toEqual(['start', 'stop'])
  })

  it('says that the feed hangs before Fastify says that a hook does', async () => {
    const feed = new StateFeed('hang')
    feed.lastError = 'Another process follows the slot.'
    const app = Fastify({ pluginTimeout: 500 })
    await app.register(crossfade, { feed, feedFailure: 'throw' })
    await expect(app.ready()).rejects.toMatchObject({
      code: 'feed_unavailable',
      message: expect.stringContaining('Another process follows the slot'),
    })
    expect(feed.calls).toContain('stop')
  })

  it('refuses other words', async () => {
    const feedFailure = 'ignore' as 'poll'
    await expect(open(new StateFeed(), { feedFailure })).rejects.toMatchObject({ code: 'invalid_options' })
  })
})

describe('a process on standby for another (D18, R62)', () => {
  async function standby(): Promise<{ feed: StateFeed; product: Shop }> {
    const feed = new StateFeed()
    feed.isHeld = true
    return { feed, product: await open(feed) }
  }

  it('is ready, says so, and answers as the product without the plugin', async () => {
    const { product } = await standby()
    const answer = await product.app.inject('/api/orders/1')
    expect(answer.json()).toEqual({ id: 1, version: 1 })
    for (const name of ['crossfade', 'etag', 'vary']) expect(answer.headers[name]).toBeUndefined()
    expect(answer.headers['crossfade-skipped']).toContain('stands by')
    const health = await product.app.inject('/crossfade/health')
    expect(health.statusCode).toBe(200)
    expect(health.json()).toMatchObject({ ok: true, push: 'standby', feed: { state: 'standby' } })
  })

  it('announces no stages, refuses joins, and tells clients to come back soon', async () => {
    const { product } = await standby()
    const origin = await product.listen()
    const socket = await Socket.open(origin)
    socket.send({ type: 'hello', protocol: 1, stagesSince: 0 }, { type: 'ping', n: 1 })
    await socket.next('heartbeat')
    expect(ofType(socket.messages, 'stage')).toEqual([])
    // A client that does not ask for a topic may stay, for calls.
    socket.send({ type: 'subscribe', id: 'a', topic: 'orders/1' }, { type: 'subscribe', id: 'b', topic: 'ticks/x' })
    expect([await socket.next('error'), await socket.next('error')]).toMatchObject([
      { code: 'overloaded', id: 'a', retry: 1_000 },
      { code: 'overloaded', id: 'b', retry: 1_000 },
    ])
    expect(await socket.next('bye')).toMatchObject({ code: 4503, retry: expect.any(Number) })
    expect((await socket.closed).code).toBe(4503)
    for (const open of [
      () => Stream.open(`${origin}/crossfade/sse`, { body: { topics: { 'orders/1': {} } } }),
      () => Stream.open(`${origin}/crossfade/sse?topic=ticks/x`),
      () => Stream.open(`${origin}/api/orders/1`, { headers: { accept: 'text/event-stream' } }),
    ]) {
      const stream = await open()
      await stream.closed
      expect(stream.messages.map(({ type }) => type)).toEqual(['hello', 'error', 'bye'])
      expect(ofType(stream.messages, 'bye')[0]).toMatchObject({ code: 4503, retry: 1_000 })
    }
    expect(ofType((await poll(product, { 'orders/1': {} }, { wait: 20_000 })).messages, 'error')).toHaveLength(1)
  })

  it('warns once that nobody hears what is published there (D18)', async () => {
    const feed = new StateFeed()
    feed.isHeld = true
    const lines: string[] = []
    const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => void lines.push(line) } } })
    await app.register(crossfade, { feed })
    app.crossfade.log('ticks/:symbol', { public: true })
    await app.ready()
    const publish = (): Promise<unknown> => app.crossfade.publish('ticks/x', 'tick', 1)
    await publish()
    await publish()
    expect(lines.filter((line) => line.includes('publish() was called on a process that stands by'))).toHaveLength(1)
    await app.close()
  })

  it('pushes when it has taken over, and its rollouts have new versions', async () => {
    const { feed, product } = await standby()
    const bootedAt = product.app.crossfade.rollout.get('order-page').version
    feed.become('streaming')
    expect(await headerOf(product)).toMatchObject({ stage: 'push' })
    expect((await headerOf(product))?.version).toBeGreaterThan(bootedAt)
    const { messages } = await poll(product, { 'orders/1': {} })
    expect(ofType(messages, 'event')).toHaveLength(1)
  })
})

describe('a server that closes', () => {
  it('stops the feed while its clients leave, so that another process takes over, and announces no stages (D18)', async () => {
    const feed = new StateFeed()
    const calls: string[] = []
    shop = await openShop({ feed, rollout }, (app) =>
      app.addHook('onClose', async () => void calls.push(...feed.calls)),
    )
    const socket = await Socket.greet(await shop.listen())
    socket.send({ type: 'subscribe', id: 'a', topic: 'orders/1' })
    await socket.next('subscribed')
    const stop = feed.stop.bind(feed)
    feed.stop = async () => {
      // Changes that are under way still reach their topics.
      await feed.emit('orders', { after: { id: 1, version: 2 } })
      await stop()
    }
    await shop.app.close()
    expect(calls).toEqual(['start standby', 'stop'])
    expect(await socket.next('bye')).toMatchObject({ code: 1001 })
    expect(ofType(socket.messages, 'stage')).toEqual([])
  })
})
