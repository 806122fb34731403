import {
  CrossfadeError,
  hashValue,
  headerName,
  parseHeader,
  stageFor,
  type EndpointHeader,
  type EventMessage,
  type Rollout,
  type Stage,
} from '@crossfade/protocol'
import type { Timer } from '../environment.ts'
import type { WatchPort } from './watch-port.ts'
import { ParityMeter, type Parity } from './parity.ts'

/** Options of `watch()`. */
export interface WatchOptions<T> {
  /** Interval of the polling loop that it replaces, ms. */
  every: number
  /** Makes the page's value of an answer. Pushed values pass through it, too. Default: the answer's JSON. */
  read?: (response: Response) => T | Promise<T>
  /** Request headers, as the loop sent them. */
  headers?: HeadersInit
  /** For a list that grows by events (a log topic): the list with the event. Default: the endpoint is read again. */
  append?: (current: T, event: EventMessage) => T
}

/** Where a shown value came from. */
export interface WatchInfo {
  readonly source: 'poll' | 'push'
  /** When the change was committed, or the answer came, ms since 1970. */
  readonly at: number
  readonly cursor: string | null
}

/** How a watch does. */
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

interface Shown {
  readonly body: unknown
}

/**
 * A polling loop that follows its endpoint from polling to push and back (PROTOCOL §10).
 *
 * The timer of the loop never stops; at each tick it polls unless push carries the value. So whatever fails, the page is at most one
 * interval from the loop that it had.
 */
export class EndpointWatch<T> implements Watch {
  readonly #port: WatchPort
  readonly #url: string
  readonly #options: WatchOptions<T>
  readonly #onValue: (value: T, info: WatchInfo) => void
  readonly #onError: (error: unknown) => void
  readonly #timer: Timer[] = []
  readonly #parity: ParityMeter
  #header: EndpointHeader | null = null
  #missingHeaders = 0
  #stage: Stage = 'off'
  #unfollow: (() => void) | null = null
  #followed: { topic: string; stage: Stage } | null = null
  #etag: string | null = null
  #shown: Shown | null = null
  #current: T | undefined
  #verifiedAt: number
  #reading = 0
  #again = false
  #stopped = false
  /** Values are read in the order in which they came, also when `read` is slow. */
  #showing: Promise<void> = Promise.resolve()
  #appended: EventMessage[] = []

  constructor(
    port: WatchPort,
    url: string,
    options: WatchOptions<T>,
    onValue: (value: T, info: WatchInfo) => void,
    onError: (error: unknown) => void,
  ) {
    this.#port = port
    this.#url = url
    this.#options = options
    this.#onValue = onValue
    this.#onError = onError
    this.#verifiedAt = port.now()
    this.#parity = new ParityMeter({
      now: port.now,
      schedule: (run, ms) => void port.setTimeout(run, ms),
      graceMs: port.timing.graceMs,
      report: (parity) => port.parity(url, parity),
    })
    void this.#poll()
    this.#tick()
  }

  get state(): WatchState {
    return { stage: this.#stage, live: this.#isCarried, parity: this.#parity.parity }
  }

  async refresh(): Promise<void> {
    await this.#poll()
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#timer) this.#port.clearTimeout(timer)
    this.#unfollow?.()
    this.#unfollow = null
  }

  /** A `stage` message: the new way is live before the old one ends. */
  onStage(feature: string, rollout: Rollout, spreadMs: number): void {
    if (this.#header?.feature !== feature) return
    this.#header = { ...this.#header, ...rollout }
    this.#later(() => this.#follow(), this.#port.random() * spreadMs)
  }

  /** Push carries the value: polls are not needed. */
  get #isCarried(): boolean {
    if (this.#header === null || (this.#stage !== 'push' && this.#stage !== 'hint')) return false
    return this.#port.isLive(this.#header.topic)
  }

  #tick(): void {
    this.#later(() => {
      this.#tick()
      if (!this.#isCarried || this.#isVerificationDue) void this.#poll()
    }, this.#options.every)
  }

  get #isVerificationDue(): boolean {
    return this.#port.now() - this.#verifiedAt >= Math.max(10 * this.#options.every, this.#port.timing.verifyMs)
  }

  #later(run: () => void, ms: number): void {
    const timer = this.#port.setTimeout(() => {
      this.#timer.splice(this.#timer.indexOf(timer), 1)
      if (!this.#stopped) run()
    }, ms)
    this.#timer.push(timer)
  }

  /** One read of the endpoint; one that is wanted while another is under way follows it. */
  async #poll(): Promise<void> {
    const mayOverlap = this.#stage === 'off'
    if (this.#reading > 0 && !mayOverlap) {
      this.#again = true
      return
    }
    this.#reading += 1
    try {
      await this.#read()
    } catch (error) {
      if (!this.#stopped) this.#onError(error)
    }
    this.#reading -= 1
    if (!this.#again || this.#stopped || this.#reading > 0) return
    this.#again = false
    await this.#poll()
  }

  async #read(): Promise<void> {
    const askedIn = this.#header === null ? null : this.#port.epochOf(this.#header.topic)
    const response = await this.#port.fetch(this.#url, this.#init())
    if (this.#stopped) return
    this.#verifiedAt = this.#port.now()
    if (response.status === 304) {
      this.#learn(response)
      return
    }
    if (!response.ok) {
      // The page's own loop would have got it, too; a proxy's error page says nothing of the stage (R60).
      await this.#show(response, null)
      return
    }
    const copy = response.clone()
    const header = parseHeader(response.headers.get(headerName))
    const body = header === null ? undefined : await bodyOf(copy)
    const hash = header?.hash ?? (body === undefined ? null : hashValue(body))
    this.#etag = response.headers.get('etag')
    if (header !== null && hash !== null && header.kind !== 'log' && this.#stage !== 'off') this.#parity.polled(hash)
    if (this.#accepts(header, hash, body, askedIn)) {
      this.#shown = { body }
      await this.#show(response, header)
    }
    this.#learn(response, body)
  }

  /** At `off` the request is exactly that of the loop. Later its tag saves the body. */
  #init(): RequestInit {
    const headers = new Headers(this.#options.headers)
    if (this.#etag !== null && this.#isCarried) headers.set('if-none-match', this.#etag)
    return { headers }
  }

  /** A poll's answer never overwrites a newer push (F24, R8). */
  #accepts(header: EndpointHeader | null, hash: string | null, body: unknown, askedIn: string | null): boolean {
    if (this.#stage !== 'push' || header === null || header.kind === 'log' || hash === null) return true
    const isNews = this.#port.rest(header.topic, { cursor: header.cursor, hash, value: body, askedIn })
    return isNews ?? true
  }

  /** What the answer says of the endpoint. A missing header counts only when it is missing twice (R60). */
  #learn(response: Response, body?: unknown): void {
    const header = parseHeader(response.headers.get(headerName))
    if (header === null) {
      this.#missingHeaders += 1
      if (this.#missingHeaders >= 2 && this.#header !== null) {
        this.#header = { ...this.#header, stage: 'off', percent: 100 }
        this.#follow()
      }
      return
    }
    this.#missingHeaders = 0
    this.#header = header
    this.#port.baseIs(header.base)
    this.#follow(body)
  }

  /** Moves to the stage that the header says for this client. */
  #follow(body?: unknown): void {
    const header = this.#header
    if (header === null || this.#stopped) return
    const stage = header.feature === undefined ? header.stage : stageFor(header, header.feature, this.#port.clientId())
    const leavesPush = stage !== this.#stage && (stage === 'off' || stage === 'shadow') && this.#stage !== 'off'
    this.#stage = stage
    // The polls carry the page before push ends.
    if (leavesPush) void this.#poll()
    const wanted = stage === 'off' ? null : { topic: header.topic, stage }
    if (wanted?.topic === this.#followed?.topic && wanted?.stage === this.#followed?.stage) return
    this.#followed = wanted
    const old = this.#unfollow
    this.#unfollow = wanted === null ? null : this.#subscribe(header, stage, body)
    old?.()
  }

  #subscribe(header: EndpointHeader, stage: Stage, body: unknown): () => void {
    const value = body ?? this.#shown?.body
    const isValue = header.kind !== 'log'
    const hash = isValue && value !== undefined ? hashValue(value) : undefined
    return this.#port.follow(
      header.topic,
      { cursor: header.cursor, hash, value, mode: stage === 'hint' ? 'changes' : 'events' },
      {
        onValue: (pushed, info) => this.#pushed(pushed, info),
        onEvent: (event) => this.#event(event),
        onChanged: (waitMs) => this.#later(() => void this.#poll(), this.#port.random() * waitMs),
        onReset: () => this.#reread(),
        onEnd: (error) => this.#ended(error),
      },
    )
  }

  #pushed(value: unknown, info: { cursor: string; hash: string; at: number }): void {
    this.#parity.pushed(info.hash)
    if (this.#stage !== 'push') return
    this.#shown = { body: value }
    this.#etag = `W/"${info.hash}"`
    void this.#show(
      new Response(JSON.stringify(value), { headers: { 'content-type': 'application/json' } }),
      null,
      info,
    )
  }

  #event(event: EventMessage): void {
    if (this.#stage !== 'push') return
    const { append } = this.#options
    if (append === undefined) {
      void this.#poll()
      return
    }
    // What comes while the list is being read is kept until it is there.
    this.#appended.push(event)
    if (this.#reading === 0) this.#append(append)
  }

  #append(append: (current: T, event: EventMessage) => T): void {
    this.#showing = this.#showing.then(() => {
      for (const event of this.#appended.splice(0)) {
        if (this.#current === undefined || this.#stopped) return
        this.#current = append(this.#current, event)
        this.#onValue(this.#current, { source: 'push', at: event.at, cursor: event.cursor })
      }
    })
  }

  /** Events were lost: the endpoint tells what is there now (R4). */
  #reread(): void {
    this.#etag = null
    void this.#poll()
  }

  /** The server refused or ended the subscription: the loop polls, and the endpoint says why. */
  #ended(error: CrossfadeError): void {
    this.#unfollow = null
    this.#followed = null
    this.#onError(error)
    void this.#poll()
  }

  async #show(
    response: Response,
    header: EndpointHeader | null,
    pushed?: { cursor: string; at: number },
  ): Promise<void> {
    const { read } = this.#options
    const info: WatchInfo =
      pushed === undefined
        ? { source: 'poll', at: this.#port.now(), cursor: header?.cursor ?? null }
        : { source: 'push', ...pushed }
    this.#showing = this.#showing.then(async () => {
      try {
        const value = (await (read === undefined ? response.json() : read(response))) as T
        if (this.#stopped) return
        this.#current = value
        this.#onValue(value, info)
      } catch (error) {
        if (!this.#stopped) this.#onError(error)
      }
    })
    await this.#showing
    if (this.#options.append !== undefined && this.#appended.length > 0 && pushed === undefined)
      this.#append(this.#options.append)
  }
}

async function bodyOf(response: Response): Promise<unknown> {
  try {
    return (await response.json()) as unknown
  } catch {
    return undefined
  }
}
