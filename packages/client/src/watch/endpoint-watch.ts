import {
  hashValue,
  headerName,
  parseHeader,
  stageFor,
  type CrossfadeError,
  type EndpointHeader,
  type EventMessage,
  type Rollout,
  type Stage,
} from '@crossfade/protocol'
import type { Timer } from '../environment.ts'
import type { Beginning, SubscriptionHandlers, ValueInfo } from '../topics/subscription.ts'
import { ParityMeter } from './parity.ts'
import { PollingLoop } from './polling-loop.ts'
import { ValueQueue, type WatchInfo } from './value-queue.ts'
import { ShadowList } from './shadow-list.ts'
import { isVariant } from './variant.ts'
import type { WatchPort } from './watch-port.ts'
import type { Watch, WatchOptions, WatchState } from './watch.ts'
import { jsonOf } from '../json-of.ts'

/** The push that it follows. */
interface Following {
  readonly topic: string
  readonly stage: Stage
  readonly handlers: SubscriptionHandlers
  readonly end: () => void
}

/** The newest that the page has of a value topic. */
interface Known {
  readonly cursor: string
  readonly hash: string
  readonly value: unknown
  readonly at: number
}

/** A polling loop that follows its endpoint from polling to push and back (PROTOCOL §10). */
export class EndpointWatch<T> implements Watch {
  readonly #port: WatchPort
  readonly #url: string
  readonly #options: WatchOptions<T>
  readonly #onError: (error: unknown) => void
  readonly #timers = new Set<Timer>()
  readonly #parity: ParityMeter
  /** Of a log topic whose list grows by events. */
  readonly #shadow: ShadowList<T> | null
  readonly #queue: ValueQueue<T>
  readonly #loop: PollingLoop
  #header: EndpointHeader | null = null
  #missingHeaders = 0
  /** When an answer last had the header, or found the subscription alive. */
  #promisedAt = Number.NEGATIVE_INFINITY
  #stage: Stage = 'off'
  #following: Following | null = null
  #known: Known | null = null
  #etag: string | null = null
  /** What the last answer is known by when it is compared with what push shows. */
  #comparable: string | null = null
  #readAt: number
  #refused: { readonly topic: string; readonly at: number } | null = null
  /** Events that came while the list was being read, or is to be read again. */
  #waiting: EventMessage[] = []
  /** Events were lost: the list is read again before others are appended to it (R4). */
  #hasGap = false
  /** How often events were lost: a read that began before says nothing of them. */
  #gaps = 0
  #stopped = false

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
    this.#onError = onError
    this.#readAt = port.now()
    this.#queue = new ValueQueue({
      ...options,
      onValue: (value, info) => {
        onValue(value, info)
        this.#listed(value, info.cursor)
      },
      onError,
    })
    this.#parity = new ParityMeter({
      now: port.now,
      schedule: (run, ms) => this.#later(run, ms),
      graceMs: port.timing.graceMs,
      isLive: () => this.#isLive,
      report: (parity) => port.parity(url, parity),
      differed: () => this.#shadow?.restart(),
    })
    const { append, keys } = options
    this.#shadow = append === undefined ? null : new ShadowList({ append, keys, meter: this.#parity, onError })
    this.#loop = new PollingLoop({
      ...port,
      everyMs: () => this.#everyMs,
      isDue: () => !this.#isCarried || this.#isVerificationDue,
      mayOverlap: () => this.#stage === 'off',
      read: () => this.#read(),
    })
  }

  get state(): WatchState {
    return { stage: this.#stage, live: this.#isCarried, parity: this.#parity.parity }
  }

  async refresh(): Promise<void> {
    await this.#loop.read()
  }

  stop(): void {
    this.#stopped = true
    this.#loop.stop()
    this.#queue.stop()
    for (const timer of this.#timers) this.#port.clearTimeout(timer)
    this.#following?.end()
    this.#following = null
  }

  /** A `stage` message (R60, R61). */
  onStage(feature: string, { stage, percent, rest }: Rollout, spreadMs: number): void {
    if (this.#header?.feature !== feature) return
    this.#header = { ...this.#header, stage, percent, rest }
    this.#later(() => this.#follow('told'), this.#port.random() * spreadMs)
  }

  /** The server may say at which interval it is polled. */
  get #everyMs(): number {
    return this.#header?.every ?? this.#options.every
  }

  get #isLive(): boolean {
    return this.#header !== null && this.#port.isLive(this.#header.topic)
  }

  /** Push carries the value: polls are not needed. */
  get #isCarried(): boolean {
    return (this.#stage === 'push' || this.#stage === 'hint') && this.#isLive
  }

  get #isVerificationDue(): boolean {
    return this.#port.now() - this.#readAt >= Math.max(10 * this.#everyMs, this.#port.timing.verifyMs)
  }

  /** Asking again at once would only be refused again; another topic, as of who has just logged in, is another question. */
  #wasJustRefused(topic: string): boolean {
    return this.#refused?.topic === topic && this.#port.now() - this.#refused.at < this.#port.timing.verifyMs
  }

  #later(run: () => void, ms: number): void {
    const timer = this.#port.setTimeout(() => {
      this.#timers.delete(timer)
      run()
    }, ms)
    this.#timers.add(timer)
  }

  async #read(): Promise<void> {
    const epoch = this.#header === null ? null : this.#port.epochOf(this.#header.topic)
    const gaps = this.#gaps
    try {
      const response = await this.#port.fetch(this.#url, this.#init())
      if (!this.#stopped) await this.#answered(response, epoch, gaps)
    } catch (error) {
      if (!this.#stopped) this.#onError(error)
    }
    // Where push does not carry the page its loop reads anyway.
    if (this.#hasGap && this.#isCarried) this.#loop.readSoon(this.#options.every)
    if (!this.#hasGap) for (const event of this.#waiting.splice(0)) this.#append(event)
  }

  /** At `off` the request is exactly that of the loop. Later its tag saves the body. */
  #init(): RequestInit {
    if (this.#etag === null || !this.#isCarried)
      return this.#options.headers === undefined ? {} : { headers: this.#options.headers }
    const headers = new Headers(this.#options.headers)
    headers.set('if-none-match', this.#etag)
    return { headers }
  }

  /**
   * @param askedIn the epoch of the topic that the page had when it asked.
   * @param gaps how often events had been lost by then.
   */
  async #answered(response: Response, askedIn: string | null, gaps: number): Promise<void> {
    this.#readAt = this.#port.now()
    const said = isVariant(this.#options.headers, response) ? null : parseHeader(response.headers.get(headerName))
    const header = this.#newest(said)
    // Only a list with a cursor says which events are in it.
    const closesGap = gaps === this.#gaps && (header !== null || !this.#isLive)
    if (response.status === 304) {
      if (closesGap) this.#hasGap = false
      if (header !== null) this.#learn(header)
      return
    }
    // The page's own loop would have got it, too; a proxy's error page says nothing of the stage (R60).
    if (!response.ok) return this.#show(response, null)
    const stage = header === null ? 'off' : this.#stageOf(header)
    // Only who follows the topic, or is about to, needs to know the value.
    const body = header === null || (stage === 'off' && this.#stage === 'off') ? undefined : await bodyOf(response)
    if (this.#stopped) return
    if (header?.hash !== undefined && header.kind !== 'log') {
      this.#comparable = comparableHash(response) ?? header.hash
      if (this.#stage !== 'off') this.#parity.polled(this.#comparable)
    }
    const known = this.#knownOf(header, body)
    const isOld = this.#isOld(header, known, askedIn)
    if (closesGap) this.#hasGap = false
    if (!isOld) {
      this.#etag = response.headers.get('etag')
      this.#show(response, header)
      this.#known = known
    }
    // While the body came another stage may have been told.
    this.#learn(this.#newest(said))
  }

  #newest(said: EndpointHeader | null): EndpointHeader | null {
    return said === null ? null : this.#port.newest(said)
  }

  #stageOf(header: EndpointHeader): Stage {
    return header.feature === undefined ? header.stage : stageFor(header, header.feature, this.#port.clientId())
  }

  /** A poll's answer never overwrites a newer push (R8). */
  #isOld(header: EndpointHeader | null, known: Known | null, askedIn: string | null): boolean {
    if (this.#stage !== 'push') return false
    // Without a cursor nothing says whether it is newer than what push carries; a list with a gap is older in any case.
    if (header === null) return this.#isLive && (this.#known !== null || (this.#shadow !== null && !this.#hasGap))
    if (header.kind === 'log') return this.#options.append !== undefined && this.#queue.isOld(header.cursor)
    return known !== null && this.#port.rest(header.topic, { ...known, askedIn }, this.#following?.handlers ?? null)
  }

  #show(response: Response, header: EndpointHeader | null): void {
    this.#queue.show(response, {
      source: 'poll',
      transport: 'endpoint',
      at: this.#port.now(),
      cursor: header?.cursor ?? null,
    })
  }

  #knownOf(header: EndpointHeader | null, value: unknown): Known | null {
    if (header === null || header.kind === 'log' || value === undefined) return null
    return { cursor: header.cursor, hash: header.hash ?? hashValue(value), value, at: this.#port.now() }
  }

  /**
   * What the answer says of the endpoint. A missing header counts only when it is missing twice, for a while, and never while the
   * subscription lives: another process may have answered, one that stands by (R60, R62).
   */
  #learn(header: EndpointHeader | null): void {
    const now = this.#port.now()
    const isPromised = header !== null || this.#isLive
    if (isPromised) this.#promisedAt = now
    this.#missingHeaders = isPromised ? 0 : this.#missingHeaders + 1
    const isOver = now - this.#promisedAt >= this.#port.timing.headerGraceMs
    if (header !== null) {
      this.#header = header
      this.#port.baseIs(header.base)
      this.#follow('polled')
    } else if (this.#missingHeaders >= 2 && isOver && this.#header !== null) {
      this.#header = { ...this.#header, stage: 'off', percent: 100 }
      this.#follow('polled')
    }
  }

  /** Moves to the stage that the header says for this client; the new way is live before the old one ends. */
  #follow(source: 'polled' | 'told'): void {
    const header = this.#header
    if (header === null || this.#stopped) return
    const before = this.#stage
    const stage = this.#stageOf(header)
    this.#stage = stage
    const isFollowed = this.#following?.topic === header.topic && this.#following.stage === stage
    if (isFollowed || (stage === 'off' && this.#following === null)) return
    const old = this.#following
    // The polls carry the page before push ends.
    if (source === 'told' && (before === 'push' || before === 'hint') && (stage === 'off' || stage === 'shadow'))
      void this.#loop.read()
    this.#following = stage === 'off' || this.#wasJustRefused(header.topic) ? null : this.#subscribe(header, stage)
    old?.end()
  }

  #subscribe(header: EndpointHeader, stage: Stage): Following {
    const isLog = header.kind === 'log'
    this.#hasGap = false
    // They come again, from where the list ends.
    this.#waiting = []
    if (isLog) this.#shadow?.clear()
    else this.#parity.begin(this.#comparable === null ? this.#known : { hash: this.#comparable })
    const cursor = isLog ? (this.#queue.cursor ?? header.cursor) : header.cursor
    const held = isLog ? null : this.#known
    const beginning: Beginning = {
      ...(held ?? { cursor }),
      mode: stage === 'hint' || (isLog && this.#shadow === null) ? 'changes' : 'events',
    }
    const isCurrent = (): boolean => !this.#stopped && this.#following?.handlers === handlers
    const handlers: SubscriptionHandlers = {
      onValue: (pushed, info) => this.#pushed(pushed, info),
      onEvent: (event) => this.#event(event),
      onChanged: (waitMs) => this.#readWithin(waitMs),
      onReset: (_reason, waitMs) => {
        this.#shadow?.clear()
        this.#hasGap = isLog
        this.#gaps += 1
        this.#readWithin(waitMs)
      },
      onEnd: (error) => {
        if (isCurrent()) this.#ended(error, header.topic)
      },
    }
    // What the topic has already is told at once.
    return { topic: header.topic, stage, handlers, end: this.#port.follow(header.topic, beginning, handlers) }
  }

  /** All who were told read at a time of their own; but no later than the loop would have. */
  #readWithin(waitMs: number): void {
    this.#loop.readSoon(this.#port.random() * Math.min(waitMs, this.#everyMs))
  }

  #pushed(value: unknown, info: ValueInfo): void {
    this.#parity.pushed(info)
    if (this.#stage !== 'push' || this.#stopped) return
    this.#known = { ...info, value }
    this.#etag = `W/"${info.hash}"`
    const response = new Response(JSON.stringify(value), { headers: { 'content-type': 'application/json' } })
    this.#queue.show(response, this.#pushInfo(info))
  }

  #event(event: EventMessage): void {
    if (this.#stage === 'shadow') this.#shadow?.pushed(event)
    if (this.#stage !== 'push' || this.#stopped) return
    if (this.#loop.isReading || this.#hasGap) this.#waiting.push(event)
    else this.#append(event)
  }

  #append(event: EventMessage): void {
    // The tag is that of the list before: the endpoint may answer it again, when the entry is gone.
    this.#etag = null
    this.#queue.append(event, this.#pushInfo(event))
  }

  /** The page shows what a poll answered: would push have shown the same? */
  #listed(value: T, cursor: string | null): void {
    if (this.#stage !== 'shadow' || this.#header?.kind !== 'log' || cursor === null) return
    this.#shadow?.answered(value, cursor)
  }

  #pushInfo({ at, cursor }: { at: number; cursor: string }): WatchInfo {
    return { source: 'push', transport: this.#port.transport(), at, cursor }
  }

  /** The server refused or ended the subscription: the loop polls, and the endpoint says why. */
  #ended(error: CrossfadeError, topic: string): void {
    this.#following = null
    this.#refused = { topic, at: this.#port.now() }
    this.#onError(error)
    void this.#loop.read()
  }
}

/** The hash in the tag that the server makes: it is the same for answers that differ only in fields that the route ignores. */
function comparableHash(response: Response): string | undefined {
  return response.headers.get('etag')?.match(/^W\/"([0-9a-f]{16})"$/)?.[1]
}

/** The body beside what the page reads; `undefined` when it is not JSON. */
async function bodyOf(response: Response): Promise<unknown> {
  try {
    return await jsonOf(response.clone())
  } catch {
    return undefined
  }
}
