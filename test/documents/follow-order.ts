import { EventEmitter, once } from 'node:events'
import { createClient } from '@crossfade/client'
import type { FastifyInstance } from 'fastify'
import { WebSocket } from 'ws'

/** What came of an example's order 42. */
export interface FollowedOrder {
  /** Where the application listens. */
  readonly origin: string
  /** The `Crossfade` header of the endpoint's answer. */
  readonly header: string | null
  /** The endpoint's answer, what a subscriber gets first, and what it gets when the order changes. */
  readonly values: readonly unknown[]
  /** What carried the last of them. */
  readonly transport: string | null
}

/** What an example's order 42 is, when all is well. */
export const followed = {
  header: /^topic="orders\/42", .*feature="order-page", stage=push/,
  values: [
    { id: 42, status: 'new' },
    { id: 42, status: 'new' },
    { id: 42, status: 'packed' },
  ],
  transport: 'websocket',
}

/** Starts an example's application, and follows its order 42 through a change. */
export async function followOrder(
  app: FastifyInstance,
  setStatus: (status: string) => Promise<unknown>,
): Promise<FollowedOrder> {
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  app.crossfade.rollout.set('order-page', { stage: 'push', percent: 100, rest: 'off' })
  await setStatus('new')
  const answer = await fetch(`${origin}/api/orders/42`)
  const values: unknown[] = [await answer.json()]

  const client = createClient({ origin, environment: { WebSocket } })
  const page = new EventEmitter()
  const first = once(page, 'value')
  client.subscribe('orders/42', { onValue: (value) => page.emit('value', value) })
  values.push(...(await first))
  const next = once(page, 'value')
  await setStatus('packed')
  values.push(...(await next))
  const { transport } = client.status
  client.close()
  return { origin, header: answer.headers.get('crossfade'), values, transport }
}
