import type { LogState } from '../brokers/broker.ts'
import type { Identity } from '../identity/principal.ts'
import type { Batch } from './batch.ts'
import type { Staleness } from './staleness.ts'

/** Why a subscription ended (`unsubscribed` of PROTOCOL §5). */
export type EndCode = 'requested' | 'forbidden' | 'expired' | 'gone'

/** One subscription as a topic sees it. */
export interface Subscriber {
  readonly mode: 'events' | 'changes'
  /** A load of a topic that is not public may use these credentials. */
  readonly identity: Identity
  /** Its connection takes messages until it is full; the client's next request gets the remainder. */
  readonly paged: boolean
  /** Offset of the last entry given to the client's connection. */
  offset: number
  /** The client's value is unknown: the next entry must be a snapshot (R6). */
  needsSnapshot: boolean
  /** More is waiting than the connection can write: a value topic skips versions until it drains. */
  congested(): boolean
  deliver(batch: Batch): void
  /** The topic's newest value cannot be loaded (R55). */
  stale(staleness: Staleness): void
  /** The topic is no longer stale. */
  fresh(cursor: string): void
  /** History was lost on this live subscription (R4). */
  reset(state: LogState, reason: string): void
  end(code: EndCode, message: string): void
}

/** A subscription whose permission is checked again while it is open (R14). */
export interface Supervised {
  readonly identity: Identity
  /** Nothing more may be sent until the endpoint has said whether the client may still read the topic. */
  suspend(): void
  /** Tells the client that events are withheld. */
  tellSuspended(): void
  /** The client may read the topic again: what it missed follows. */
  resume(): void
  end(code: EndCode, message: string): void
}
