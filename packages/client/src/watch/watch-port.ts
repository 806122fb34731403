import type { Timer } from '../environment.ts'
import type { Timing } from '../timing.ts'
import type { SubscriptionHandlers } from '../topics/subscription.ts'
import type { StartPosition } from '../topics/topic-registry.ts'
import type { RestAnswer } from '../topics/value-state.ts'
import type { Parity } from './parity.ts'

/** What a watch needs of its client. */
export interface WatchPort {
  readonly timing: Timing
  readonly now: () => number
  readonly random: () => number
  readonly setTimeout: (run: () => void, ms: number) => Timer
  readonly clearTimeout: (timer: Timer) => void
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>
  /** Who this client is for percentages. */
  clientId(): string
  /** Where the endpoint says that the push endpoints are. */
  baseIs(base: string): void
  follow(topic: string, start: StartPosition, handlers: SubscriptionHandlers): () => void
  /** Whether push carries the topic now. */
  isLive(topic: string): boolean
  epochOf(topic: string): string | null
  rest(topic: string, answer: RestAnswer): boolean | null
  parity(url: string, parity: Parity): void
}
