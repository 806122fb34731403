import type { CrossfadeError, EventMessage, StageMessage, SubscriptionMode } from '@crossfade/protocol'
import { CrossfadeClient } from './crossfade-client.ts'
import type { Environment } from './environment.ts'
import type { Reason } from './link/machine.ts'
import type { Timing } from './timing.ts'
import type { TransportName } from './transports/transport.ts'
import type { Parity } from './watch/parity.ts'
import type { WatchInfo } from './watch/value-queue.ts'
import type { Watch, WatchOptions } from './watch/watch.ts'

/** Options of {@link createClient}. */
export interface ClientOptions {
  /** The server's origin. Default: the page's; required in Node. */
  origin?: string
  /** Where the push endpoints are, until an endpoint's header says so. Default `/crossfade`. */
  base?: string
  /** Gives a fresh token; called for every connection and after a refusal. Default: cookies do. */
  token?: (refresh: boolean) => string | undefined | Promise<string | undefined>
  /** Who this client is for percentages: the principal's id where there is one. Default: a random id that the browser keeps. */
  clientId?: string
  /** The ladder, best first. Default: websocket, sse, longpoll, shortpoll. */
  transports?: readonly TransportName[]
  /** Replacements for parts of the platform, such as `{ WebSocket }` from the package `ws` on Node 20. */
  environment?: Partial<Environment>
  /** Replacements for the client's times. */
  timing?: Partial<Timing>
}

/** What carries the client's topics, and why nothing better does. */
export interface ClientStatus {
  readonly state: 'idle' | 'connecting' | 'live' | 'polling' | 'stopped'
  /** What carries the messages; `endpoint`: nothing of Crossfade does, watches poll their own endpoints. */
  readonly transport: TransportName | 'endpoint' | null
  /** Why it is not on its best transport. */
  readonly reason: Reason | null
  /** When it tries again, ms since 1970. */
  readonly retryAt: number | null
}

/** One request that the client made. */
export interface RequestRecord {
  readonly method: string
  readonly url: string
  readonly at: number
  readonly ms: number
  /** 0 when it failed. */
  readonly status: number
}

/** What {@link Client.on} tells. */
export type ClientEvents = {
  status: ClientStatus
  stage: StageMessage
  drift: { topic: string }
  request: RequestRecord
  parity: { url: string; parity: Parity }
}

/** Options of {@link Client.subscribe}. */
export interface SubscribeOptions {
  onValue?: (value: unknown, info: { cursor: string; hash: string; at: number }) => void
  onEvent?: (event: EventMessage) => void
  onChanged?: (waitMs: number) => void
  /** Events were lost: read the endpoint again from its beginning, after a random time up to `waitMs`. */
  onReset?: (reason: string, waitMs: number) => void
  /** It was refused, or has ended. Transient errors (`server_error`, `overloaded`, `too_fast`) are not told: it is asked for again (R40). */
  onError?: (error: CrossfadeError) => void
  /** Where a REST answer left off. */
  cursor?: string
  hash?: string
  /** Log topics without cursor: how many of the last events to get. */
  history?: number
  mode?: SubscriptionMode
}

/** A subscription that can be ended. */
export interface Subscription {
  unsubscribe(): void
}

/** The shim: `watch()` in place of a polling loop, `fetch` in place of `fetch`, `subscribe()` for the direct way. */
export interface Client {
  readonly status: ClientStatus
  /**
   * Polls an endpoint as a loop would, until the endpoint says that it can be pushed; then follows it.
   *
   * @param url absolute, or relative to the origin.
   * @param onError gets what goes wrong: a read that failed, a topic that was refused, an error of `onValue`. Default: the console.
   */
  watch<T = unknown>(
    url: string,
    options: WatchOptions<T>,
    onValue: (value: T, info: WatchInfo) => void,
    onError?: (error: unknown) => void,
  ): Watch
  /** The platform's `fetch`; answers of topics that are followed keep them current (R8). */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
  subscribe(topic: string, options: SubscribeOptions): Subscription
  /**
   * Calls a method of the server, at most once (R34).
   *
   * @throws CrossfadeError with the server's code; `transport_failed` when no answer came.
   */
  request(method: string, params?: unknown): Promise<unknown>
  /** @returns what takes the listener off. */
  on<Name extends keyof ClientEvents>(name: Name, listener: (event: ClientEvents[Name]) => void): () => void
  close(): void
}

/**
 * Creates a client. It does nothing until something is watched or subscribed.
 *
 * @throws CrossfadeError `invalid_options` when there is no origin.
 */
export function createClient(options: ClientOptions = {}): Client {
  return new CrossfadeClient(options)
}
