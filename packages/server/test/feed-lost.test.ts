import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FeedLifecycle } from '../src/feed/feed-lifecycle.ts'
import { PushGate, type PushState } from '../src/feed/push-gate.ts'
import { ofType, openShop, type Shop } from './shop.ts'
import { Socket } from './socket.ts'
import { StateFeed } from './state-feed.ts'

const quiet = { info: () => {}, warn: () => {}, error: () => {} }

describe('a feed that loses its source', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
  afterEach(() => void vi.useRealTimers())

  async function started(): Promise<{
    feed: StateFeed
    gate: PushGate
    states: PushState[]
    lifecycle: FeedLifecycle
  }> {
    const feed = new StateFeed()
    const gate = new PushGate('starting')
    const states: PushState[] = []
    gate.onChange((state) => states.push(state))
    const sink = (): Promise<void> => Promise.resolve()
    const lifecycle = new FeedLifecycle({ feed, gate, sink, log: quiet, failure: 'poll', pluginTimeoutMs: 10_000 })
    await lifecycle.start([])
    return { feed, gate, states, lifecycle }
  }

  it('is not announced when it is back soon', async () => {
    const { feed, states } = await started()
    feed.become('reconnecting')
    vi.advanceTimersByTime(2_900)
    feed.become('streaming')
    vi.advanceTimersByTime(60_000)
    expect(states).toEqual(['open'])
  })

  it('closes the gate when it is not, and opens it again (R62)', async () => {
    const { feed, states, lifecycle } = await started()
    feed.lastError = 'The connection was lost.'
    feed.become('reconnecting')
    vi.advanceTimersByTime(3_000)
    expect(states).toEqual(['open', 'off'])
    expect(lifecycle.health().lastError).toContain('The connection was lost.')
    feed.lastError = undefined
    feed.become('streaming')
    expect(states).toEqual(['open', 'off', 'open'])
    expect(lifecycle.health().lastError).toBeUndefined()
  })

  it('stays silent where it only stood by: another process may still have the source', async () => {
    const { feed, states, lifecycle } = await started()
    feed.become('standby')
    feed.become('reconnecting')
    vi.advanceTimersByTime(60_000)
    expect(states).toEqual(['open', 'standby'])
    // The operator is told anyway.
    expect(lifecycle.isWell).toBe(false)
    feed.become('standby')
    expect(lifecycle.isWell).toBe(true)
  })

  it('closes the gate when it gives up for good', async () => {
    const { feed, states } = await started()
    feed.become('stopped')
    expect(states).toEqual(['open', 'off'])
  })
})

describe('clients of a process that can no longer push (R62)', () => {
  let shop: Shop
  let feed: StateFeed
  beforeEach(async () => {
    feed = new StateFeed()
    shop = await openShop({ feed, rollout: { 'order-page': { stage: 'push' } } })
  })
  afterEach(() => shop.app.close())

  async function subscribed(): Promise<Socket> {
    const socket = await Socket.greet(await shop.listen())
    socket.send({ type: 'subscribe', id: 'a', topic: 'orders/1' })
    await socket.next('event')
    return socket
  }

  it('are told that the stage is off, and no subscription stays open without being served', async () => {
    const socket = await subscribed()
    // As after a while without its source.
    feed.become('stopped')
    expect(await socket.next('stage')).toMatchObject({ feature: 'order-page', stage: 'off' })
    expect(await socket.next('bye')).toMatchObject({ code: 4503 })
  })

  it('are told nothing of stages where another process has taken over: that one pushes', async () => {
    const socket = await subscribed()
    feed.become('standby')
    expect(await socket.next('bye')).toMatchObject({ code: 4503 })
    expect(ofType(socket.messages, 'stage')).toEqual([])
  })

  it('get what changed meanwhile when it pushes again', async () => {
    const socket = await subscribed()
    feed.become('standby')
    await socket.closed
    shop.orders.set(1, { id: 1, version: 2 })
    feed.become('streaming')
    const again = await Socket.greet(`http://127.0.0.1:${addressOf(shop)}`)
    again.send({ type: 'subscribe', id: 'a', topic: 'orders/1' })
    await expect.poll(() => ofType(again.messages, 'event').at(-1)?.data).toEqual({ id: 1, version: 2 })
    again.close()
  })

  it('are not told what the operator sets meanwhile, but afterwards', async () => {
    feed.become('stopped')
    await shop.app.ready()
    feed.become('stopped')
    const set = await shop.app.inject({
      method: 'PUT',
      url: '/crossfade/features/order-page',
      headers: { authorization: 'Bearer operator', 'content-type': 'application/json' },
      payload: { stage: 'hint' },
    })
    expect(set.json()).toMatchObject({ stage: 'hint' })
    expect(shop.app.crossfade.rollout.get('order-page')).toMatchObject({ stage: 'off' })
    feed.become('streaming')
    expect(shop.app.crossfade.rollout.get('order-page')).toMatchObject({ stage: 'hint' })
  })
})

function addressOf({ app }: Shop): number {
  const address = app.server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
