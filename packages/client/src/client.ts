import {
  CrossfadeError,
  defaultBase,
  headerName,
  parseHeader,
  paths,
  type EventMessage,
  type ServerMessage,
  type StageMessage,
  type SubscriptionMode,
} from '@crossfade/protocol'
import { clientIdOf } from './client-id.ts'
import { Emitter } from './emitter.ts'
import { environmentOf, type Environment } from './environment.ts'
import { LinkDriver } from './link/driver.ts'
import type { LinkState, Reason } from './link/machine.ts'
import { defaultTiming, type Timing } from './timing.ts'
import { TopicRegistry } from './topics/topic-registry.ts'
import { transportNames, type TransportName } from './transports/transport.ts'
import type { Parity } from './watch/parity.ts'
import { EndpointWatch, type Watch, type WatchInfo, type WatchOptions } from './watch/watch.ts'

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
  timing?: Partial<Timing>
}

/** How the client does. */
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
  /** Events were lost: read the endpoint again from its beginning. */
  onReset?: (reason: string) => void
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
   */
  watch<T = unknown>(
    url: string,
    options: WatchOptions<T>,
    onValue: (value: T, info: WatchInfo) => void,
    onError?: (error: unknown) => void,
  ): Watch
  /** The platform's `fetch`; answers of topics that are followed keep them current (R8). */
  fetch(input: string | URL, init?: RequestInit): Promise<Response>
  subscribe(topic: string, options: SubscribeOptions): Subscription
  /**
   * Calls a method of the server, at most once (R34).
   *
   * @throws CrossfadeError with the server's code.
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

class CrossfadeClient implements Client {
  readonly #options: ClientOptions
  readonly #origin: string
  readonly #environment: Environment
  readonly #timing: Timing
  readonly #events = new Emitter<ClientEvents>()
  readonly #topics: TopicRegistry
  readonly #watches = new Set<Pick<EndpointWatch<unknown>, 'onStage' | 'stop'>>()
  #base: string
  #link: LinkDriver | null = null
  #closed = false
  #scheduled = false

  constructor(options: ClientOptions) {
    const origin = options.origin ?? (globalThis as { location?: { origin: string } }).location?.origin
    if (origin === undefined)
      throw new CrossfadeError(
        'invalid_options',
        'There is no page whose origin could be used. Give createClient({ origin: "https://…" }).',
      )
    this.#options = options
    this.#origin = origin
    const platform = environmentOf(options.environment)
    this.#environment = { ...platform, fetch: (input, init) => this.#fetch(platform, input as string, init) }
    this.#timing = { ...defaultTiming, ...options.timing }
    this.#base = new URL(options.base ?? defaultBase, origin).href
    this.#topics = new TopicRegistry(
      () => this.#sync(),
      (topic) => this.#events.emit('drift', { topic }),
    )
  }

  get status(): ClientStatus {
    return statusOf(this.#link?.state ?? null)
  }

  watch<T>(
    url: string,
    options: WatchOptions<T>,
    onValue: (value: T, info: WatchInfo) => void,
    onError: (error: unknown) => void = () => {},
  ): Watch {
    const { now, random, setTimeout, clearTimeout } = this.#environment
    const watch = new EndpointWatch<T>(
      {
        timing: this.#timing,
        now,
        random,
        setTimeout,
        clearTimeout,
        fetch: (target, init) => this.#environment.fetch(new URL(target, this.#origin).href, init),
        clientId: () => clientIdOf(this.#options.clientId),
        baseIs: (base) => this.#moveTo(new URL(base, new URL(url, this.#origin)).href),
        follow: (topic, start, handlers) => this.#topics.follow(topic, start, handlers),
        isLive: (topic) => this.#link?.state.phase === 'live' && this.#topics.get(topic)?.isLive === true,
        epochOf: (topic) => this.#topics.get(topic)?.epoch ?? null,
        rest: (topic, answer) => this.#topics.rest(topic, answer),
        parity: (watched, parity) => this.#events.emit('parity', { url: watched, parity }),
      },
      url,
      options,
      onValue,
      onError,
    )
    this.#watches.add(watch)
    return {
      stop: () => {
        this.#watches.delete(watch)
        watch.stop()
      },
      refresh: () => watch.refresh(),
      get state() {
        return watch.state
      },
    }
  }

  async fetch(input: string | URL, init?: RequestInit): Promise<Response> {
    const askedAt = new Map(
      [...this.#topics.subscriptions()].map((subscription) => [subscription.topic, subscription.epoch]),
    )
    const response = await this.#environment.fetch(new URL(input, this.#origin).href, init)
    const header = response.ok ? parseHeader(response.headers.get(headerName)) : null
    if (header?.hash !== undefined && header.kind !== 'log' && askedAt.has(header.topic)) {
      const value = (await response.clone().json()) as unknown
      this.#topics.rest(header.topic, {
        cursor: header.cursor,
        hash: header.hash,
        value,
        askedIn: askedAt.get(header.topic) ?? null,
      })
    }
    return response
  }

  subscribe(topic: string, options: SubscribeOptions): Subscription {
    const { cursor, hash, history, mode, onError, ...handlers } = options
    const end = this.#topics.follow(
      topic,
      { cursor, hash, history, mode },
      { ...handlers, ...(onError === undefined ? {} : { onEnd: onError }) },
    )
    return { unsubscribe: end }
  }

  async request(method: string, params?: unknown): Promise<unknown> {
    const token = await this.#options.token?.(false)
    const response = await this.#environment.fetch(`${this.#base}${paths.rpc}/${encodeURIComponent(method)}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'idempotency-key': randomId(),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(params ?? null),
    })
    const answer = (await response.json()) as { result?: unknown; code?: string; detail?: string }
    if (response.ok) return answer.result
    throw new CrossfadeError(
      (answer.code ?? 'server_error') as CrossfadeError['code'],
      answer.detail ?? `The call of ${method} failed with ${response.status}.`,
    )
  }

  on<Name extends keyof ClientEvents>(name: Name, listener: (event: ClientEvents[Name]) => void): () => void {
    return this.#events.on(name, listener)
  }

  close(): void {
    this.#closed = true
    for (const watch of this.#watches) watch.stop()
    this.#watches.clear()
    this.#link?.close()
  }

  /** What is subscribed in one go is sent in one go. */
  #sync(): void {
    if (this.#scheduled || this.#closed) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      if (this.#closed) return
      this.#link ??= this.#openLink()
      this.#link.sync()
    })
  }

  #openLink(): LinkDriver {
    return new LinkDriver({
      environment: this.#environment,
      timing: this.#timing,
      base: this.#base,
      ladder: this.#options.transports ?? transportNames,
      token: async (refresh) => this.#options.token?.(refresh),
      subscriptions: () => this.#topics.subscriptions(),
      message: (message) => this.#message(message),
      changed: (state) => this.#events.emit('status', statusOf(state)),
    })
  }

  #moveTo(base: string): void {
    // One base an application: the first endpoint that says it is right.
    if (this.#link === null) this.#base = base
  }

  #message(message: ServerMessage): void {
    if (message.type === 'stage') {
      this.#events.emit('stage', message)
      for (const watch of this.#watches) watch.onStage(message.feature, message, message.spread)
    } else this.#topics.take(message)
  }

  async #fetch(platform: Environment, url: string, init: RequestInit | undefined): Promise<Response> {
    const at = platform.now()
    const method = init?.method ?? 'GET'
    const record = (status: number): void =>
      this.#events.emit('request', { method, url, at, ms: platform.now() - at, status })
    try {
      const response = await platform.fetch(url, init)
      record(response.status)
      return response
    } catch (error) {
      record(0)
      throw error
    }
  }
}

function statusOf(state: LinkState | null): ClientStatus {
  if (state === null) return { state: 'idle', transport: null, reason: null, retryAt: null }
  const { phase, ladder, rung, reason, retryAt, attempt } = state
  const transport = ladder[rung] ?? null
  switch (phase) {
    case 'idle':
    case 'asleep':
      return { state: 'idle', transport: null, reason: null, retryAt: null }
    case 'live':
      return { state: 'live', transport, reason, retryAt: null }
    case 'stopped':
      return { state: 'stopped', transport: 'endpoint', reason, retryAt: null }
    default:
      // After one vain try the page lives on its own polls.
      return attempt > 0
        ? { state: 'polling', transport: 'endpoint', reason, retryAt }
        : { state: 'connecting', transport: null, reason, retryAt }
  }
}

function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
