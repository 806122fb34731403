import type { EndpointHeader } from '@crossfade/protocol'
import type { Timer } from '../environment.ts'
import type { Timing } from '../timing.ts'
import type { Beginning, SubscriptionHandlers } from '../topics/subscription.ts'
import type { RestAnswer } from '../topics/value-state.ts'
import type { TransportName } from '../transports/transport.ts'
import type { Parity } from './parity.ts'

/** What a watch needs of its client. */
export interface WatchPort {
  readonly timing: Timing
  readonly now: () => number
  readonly random: () => number
  readonly setTimeout: (run: () => void, ms: number) => Timer
  readonly clearTimeout: (timer: Timer | null) => void
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>
  /** Who this client is for percentages. */
  clientId(): string
  /** Where the endpoint says that the push endpoints are. */
  baseIs(base: string): void
  /** The header with the newest rollout that is known (R61). */
  newest(header: EndpointHeader): EndpointHeader
  /** What carries push now. */
  transport(): TransportName | 'endpoint'
  follow(topic: string, beginning: Beginning, handlers: SubscriptionHandlers): () => void
  /** Whether push carries the topic now. */
  isLive(topic: string): boolean
  epochOf(topic: string): string | null
  /** @returns whether the answer is old: newer has been shown. */
  rest(topic: string, answer: RestAnswer & { at: number }, asker: SubscriptionHandlers | null): boolean
  parity(url: string, parity: Parity): void
}
