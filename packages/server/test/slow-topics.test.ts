import type { FastifyReply } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { ofType, openShop, poll, type Shop } from './shop.ts'

let shop: Shop
/** Ends what hangs. */
let release: () => void
afterEach(async () => {
  release()
  await shop.app.close()
})

/** A shop with endpoints that hang, fail, or answer, as a test says. */
async function open(): Promise<void> {
  const hanging = new Promise<void>((resolve) => (release = resolve))
  shop = await openShop({ loadTimeoutMs: 60_000 }, (app) => {
    app.get('/hangs', { config: { crossfade: { topic: 'hangs', audience: 'public' } } }, async () => {
      await hanging
      return { late: true }
    })
    app.get(
      '/weather',
      { config: { crossfade: { topic: 'weather', audience: 'public' } } },
      async (_request, reply) => reply.code(weather.status).send({ version: weather.version }) as FastifyReply,
    )
  })
}

const weather = { status: 200, version: 1 }

/** The resume point of a client that has applied the answer. */
async function joined(topic: string): Promise<Record<string, object>> {
  const answer = await poll(shop, { [topic]: {} })
  const hash = ofType(answer.messages, 'event').at(-1)?.hash
  return { [topic]: { ...answer.topics[topic], hash } }
}

describe('one topic of many whose endpoint hangs (R54, D14)', () => {
  it('keeps no others waiting in a short poll, and is asked for again', async () => {
    await open()
    const answer = await poll(shop, { hangs: {}, 'orders/1': {} })
    expect(ofType(answer.messages, 'event')).toMatchObject([{ topic: 'orders/1', event: 'snapshot' }])
    expect(ofType(answer.messages, 'error')).toMatchObject([{ topic: 'hangs', code: 'overloaded' }])
    expect(Object.keys(answer.topics)).toEqual(['orders/1'])
    release()
    await expect
      .poll(async () => ofType((await poll(shop, { hangs: {} })).messages, 'event'))
      .toMatchObject([{ topic: 'hangs', data: { late: true } }])
  })

  it('keeps no others waiting in a long poll: their changes arrive immediately', async () => {
    await open()
    const topics = await joined('orders/1')
    const held = poll(shop, { ...topics, hangs: {} }, { wait: 20_000 })
    await expect.poll(async () => (await shop.app.inject('/crossfade/health')).json()).toMatchObject({ connections: 1 })
    await shop.putOrder(1, 2)
    const answer = await held
    expect(ofType(answer.messages, 'event')).toMatchObject([{ topic: 'orders/1' }])
    expect(ofType(answer.messages, 'error')).toMatchObject([{ topic: 'hangs', code: 'overloaded' }])
  })

  it('comes in the same answer when it answers while the poll is held', async () => {
    await open()
    const topics = await joined('orders/1')
    const held = poll(shop, { ...topics, hangs: {} }, { wait: 20_000 })
    await expect.poll(async () => (await shop.app.inject('/crossfade/health')).json()).toMatchObject({ connections: 1 })
    release()
    expect(ofType((await held).messages, 'event')).toMatchObject([{ topic: 'hangs' }])
  })
})

it('many topics whose endpoints hang keep no others from being read for the first time (R54)', async () => {
  const hanging = new Promise<void>((resolve) => (release = resolve))
  shop = await openShop({ loadTimeoutMs: 60_000 }, (app) => {
    app.get('/hangs/:id', { config: { crossfade: { topic: 'hangs/:id', audience: 'public' } } }, async () => {
      await hanging
      return { late: true }
    })
  })
  const topics = Object.fromEntries(
    [...Array.from({ length: 40 }, (_, i) => `hangs/${i}`), 'orders/1'].map((name) => [name, {}]),
  )
  // The first answers begin the loads that hang; they are under way when the client asks again.
  await expect
    .poll(async () => ofType((await poll(shop, topics)).messages, 'event').map(({ topic }) => topic), {
      timeout: 30_000,
    })
    .toEqual(['orders/1'])
})

describe('a topic that is stale, in polls (R55)', () => {
  /** The topic is loaded, and its endpoint fails after a change. */
  async function fail(): Promise<object> {
    Object.assign(weather, { status: 200, version: 1 })
    await open()
    const topics = await joined('weather')
    weather.status = 503
    const held = poll(shop, topics, { wait: 20_000 })
    await expect.poll(async () => (await shop.app.inject('/crossfade/health')).json()).toMatchObject({ connections: 1 })
    shop.app.crossfade.invalidate('weather')
    expect((await held).messages).toMatchObject([{ type: 'stale', topic: 'weather', reason: 'endpoint_failed' }])
    return topics
  }

  const known = (topics: object): object =>
    Object.fromEntries(Object.entries(topics).map(([topic, position]) => [topic, { ...position, stale: true }]))

  it('is told immediately to a client that does not know it, and named in each answer to one that does', async () => {
    const topics = await fail()
    expect((await poll(shop, topics, { wait: 20_000 })).messages).toMatchObject([{ type: 'stale' }])
    const again = await poll(shop, known(topics), { wait: 50 })
    expect(again.messages).toMatchObject([{ type: 'stale', topic: 'weather' }])
  })

  it('is listed to the operator, and to nobody else', async () => {
    await fail()
    const health = async (headers: Record<string, string>): Promise<object> =>
      (await shop.app.inject({ url: '/crossfade/health', headers })).json()
    expect(await health({ authorization: 'Bearer operator' })).toMatchObject({
      failing: [{ topic: 'weather', reason: 'endpoint_failed', since: expect.any(Number) as number }],
    })
    expect(Object.keys(await health({}))).not.toContain('failing')
  })

  it('is reported as fresh while a poll is held, and immediately to a client that missed it', async () => {
    const topics = await fail()
    const held = poll(shop, known(topics), { wait: 20_000 })
    weather.status = 200
    expect((await held).messages).toMatchObject([{ type: 'fresh', topic: 'weather' }])
    expect((await poll(shop, known(topics), { wait: 20_000 })).messages).toMatchObject([{ type: 'fresh' }])
  })
})
