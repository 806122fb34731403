import {
  CrossfadeError,
  defaultBase,
  hashValue,
  headerName,
  parseHeader,
  type EndpointHeader,
  type ServerMessage,
} from '@crossfade/protocol'
import { callMethod } from './call-method.ts'
import { clientIdOf } from './client-id.ts'
import type { Client, ClientEvents, ClientOptions, ClientStatus, SubscribeOptions, Subscription } from './client.ts'
import { Emitter } from './emitter.ts'
import { environmentOf, type Environment } from './environment.ts'
import { KnownRollouts } from './known-rollouts.ts'
import { LinkDriver } from './link/driver.ts'
import { statusOf } from './link/status.ts'
import { defaultTiming, type Timing } from './timing.ts'
import { TopicRegistry } from './topics/topic-registry.ts'
import type { Asked } from './transports/asked-topics.ts'
import { transportNames, type Call } from './transports/transport.ts'
import { EndpointWatch } from './watch/endpoint-watch.ts'
import type { WatchInfo } from './watch/value-queue.ts'
import { isVariant } from './watch/variant.ts'
import type { WatchPort } from './watch/watch-port.ts'
import type { Watch, WatchOptions } from './watch/watch.ts'
import { jsonOf } from './json-of.ts'

/** Puts the parts together: what is followed, the link that carries it, and the watches. */
export class CrossfadeClient implements Client {
  readonly #options: ClientOptions
  readonly #origin: string
  readonly #environment: Environment
  readonly #timing: Timing
  readonly #events = new Emitter<ClientEvents>()
  readonly #topics: TopicRegistry
  readonly #rollouts = new KnownRollouts()
  readonly #watches = new Set<Pick<EndpointWatch<unknown>, 'onStage' | 'stop'>>()
  readonly #token = async (refresh: boolean): Promise<string | undefined> => this.#options.token?.(refresh)
  #base: string
  #link: LinkDriver | null = null
  #closed = false
  #isScheduled = false

  /** @throws CrossfadeError `invalid_options` when there is no origin. */
  constructor(options: ClientOptions) {
    this.#options = options
    this.#origin = originOf(options)
    const platform = environmentOf(options.environment)
    this.#environment = { ...platform, fetch: (input, init) => this.#fetch(platform, input, init) }
    this.#timing = { ...defaultTiming, ...options.timing }
    this.#base = new URL(options.base ?? defaultBase, this.#origin).href
    this.#topics = new TopicRegistry(
      () => this.#sync(),
      (topic) => this.#events.emit('drift', { topic }),
      platform,
    )
  }

  get status(): ClientStatus {
    return statusOf(this.#link?.state ?? null)
  }

  watch<T>(
    url: string,
    options: WatchOptions<T>,
    onValue: (value: T, info: WatchInfo) => void,
    // A page that breaks must not do so in silence.
    onError: (error: unknown) => void = console.error,
  ): Watch {
    this.#assertOpen()
    const watch = new EndpointWatch<T>(this.#watchPort(url), url, options, onValue, onError)
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

  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    const epochs = new Map([...this.#topics.subscriptions()].map(({ topic, epoch }) => [topic, epoch]))
    const target = input instanceof Request ? input : new URL(input, this.#origin).href
    const response = await this.#environment.fetch(target, init)
    const sent = init?.headers ?? (input instanceof Request ? input.headers : undefined)
    const header = response.ok && !isVariant(sent, response) ? parseHeader(response.headers.get(headerName)) : null
    if (header !== null && header.kind !== 'log' && epochs.has(header.topic))
      void this.#learn(header, response.clone(), epochs.get(header.topic) ?? null)
    return response
  }

  subscribe(topic: string, options: SubscribeOptions): Subscription {
    this.#assertOpen()
    const onEnd = (error: CrossfadeError): void => options.onError?.(error)
    return { unsubscribe: this.#topics.follow(topic, options, { ...options, onEnd }) }
  }

  async request(method: string, params?: unknown): Promise<unknown> {
    this.#assertOpen()
    const send = (call: Call): ReturnType<LinkDriver['call']> => this.#link?.call(call) ?? null
    return callMethod({ environment: this.#environment, base: this.#base, token: this.#token, send }, method, params)
  }

  on<Name extends keyof ClientEvents>(name: Name, listener: (event: ClientEvents[Name]) => void): () => void {
    return this.#events.on(name, listener)
  }

  close(): void {
    this.#closed = true
    for (const watch of this.#watches) watch.stop()
    this.#watches.clear()
    this.#topics.close()
    this.#link?.close()
  }

  #assertOpen(): void {
    if (this.#closed) throw new CrossfadeError('client_closed', 'The client is closed. Create another one.')
  }

  #watchPort(url: string): WatchPort {
    return {
      ...this.#environment,
      timing: this.#timing,
      fetch: (target, init) => this.#environment.fetch(new URL(target, this.#origin).href, init),
      clientId: () => clientIdOf(this.#options.clientId),
      baseIs: (base) => this.#moveTo(new URL(base, new URL(url, this.#origin)).href),
      newest: (header) => this.#rollouts.newest(header),
      follow: (topic, beginning, handlers) => this.#topics.follow(topic, beginning, handlers),
      isLive: (topic) => this.#link?.state.phase === 'live' && this.#topics.get(topic)?.isLive === true,
      epochOf: (topic) => this.#topics.get(topic)?.epoch ?? null,
      transport: () => this.status.transport ?? 'endpoint',
      rest: (topic, answer, asker) => this.#topics.rest(topic, answer, asker),
      parity: (watched, parity) => this.#events.emit('parity', { url: watched, parity }),
    }
  }

  /** What is subscribed in one go is sent in one go. */
  #sync(): void {
    if (this.#isScheduled || this.#closed) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
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
      token: this.#token,
      subscriptions: () => this.#topics.subscriptions(),
      message: (message, asked) => this.#message(message, asked),
      heard: () => this.#rollouts.heard,
      askLater: (topic) => this.#topics.askLater(topic),
      changed: (state) => this.#events.emit('status', statusOf(state)),
    })
  }

  /** One base an application: the first endpoint that says it is right. */
  #moveTo(base: string): void {
    if (this.#link === null) this.#base = base
  }

  #message(message: ServerMessage, asked: Asked | undefined): void {
    if (message.type !== 'stage') return this.#topics.take(message, asked)
    if (!this.#rollouts.hear(message)) return
    this.#events.emit('stage', message)
    for (const watch of this.#watches) watch.onStage(message.feature, message, message.spread)
  }

  /** What the application read by itself brings those who follow the topic up to date (R8). */
  async #learn(header: EndpointHeader, copy: Response, askedIn: string | null): Promise<void> {
    try {
      const value = await jsonOf(copy)
      const { topic, cursor, hash = hashValue(value) } = header
      this.#topics.rest(topic, { cursor, hash, value, askedIn, at: this.#environment.now() }, null)
    } catch {
      // Not JSON, or cut off: it tells nothing, and the application sees it for itself.
    }
  }

  async #fetch(platform: Environment, input: string | URL | Request, init: RequestInit | undefined): Promise<Response> {
    const at = platform.now()
    const request = input instanceof Request ? input : { method: 'GET', url: String(input) }
    const method = init?.method ?? request.method
    const record = (status: number): void =>
      this.#events.emit('request', { method, url: request.url, at, ms: platform.now() - at, status })
    try {
      const response = await platform.fetch(input, init)
      record(response.status)
      return response
    } catch (error) {
      record(0)
      throw error
    }
  }
}

function originOf({ origin }: ClientOptions): string {
  const found = origin ?? (globalThis as { location?: { origin: string } }).location?.origin
  if (found !== undefined) return found
  throw new CrossfadeError(
    'invalid_options',
    'There is no page whose origin could be used. Give createClient({ origin: "https://…" }).',
  )
}
