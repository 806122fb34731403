import type { EventMessage } from '@crossfade/protocol'
import type { Stage } from '@crossfade/protocol'
import type { Parity } from './parity.ts'

/** Options of `watch()`. */
export interface WatchOptions<T> {
  /** Interval of the polling loop that it replaces, ms. */
  every: number
  /** Makes the page's value of an answer. Pushed values pass through it, too. Default: the JSON of a 2xx answer. */
  read?: (response: Response) => T | Promise<T>
  /**
   * Request headers, as the loop sent them. With one on which the answer depends, such as a tenant, the endpoint is polled as before:
   * a subscription could not say it.
   */
  headers?: HeadersInit
  /**
   * For a list that grows by events (a log topic): the list that the endpoint would answer after the event, in its order and with its limit.
   * At `shadow` it is compared with the next answer, for which both must be JSON. Default: the endpoint is read again.
   */
  append?: (current: T, event: EventMessage) => T
  /** With `append`: the keys of the entries that a list has, so that none is appended twice. Default: `append` sees to it by `event.key`. */
  keys?: (current: T) => Iterable<string>
}

/** The state of a watch. */
export interface WatchState {
  readonly stage: Stage
  /** Whether push carries it now; if not, it polls. */
  readonly live: boolean
  readonly parity: Parity
}

/** What `watch()` returns. */
export interface Watch {
  stop(): void
  /** Reads the endpoint now. */
  refresh(): Promise<void>
  readonly state: WatchState
}
