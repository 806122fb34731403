import { formatCursor, formatHeader, hashValue, type EventMessage, type Stage } from '@crossfade/protocol'
import type { Beginning, SubscriptionHandlers } from '../src/topics/subscription.ts'
import { defaultTiming } from '../src/timing.ts'
import { KnownRollouts } from '../src/known-rollouts.ts'
import { EndpointWatch } from '../src/watch/endpoint-watch.ts'
import type { Parity } from '../src/watch/parity.ts'
import type { WatchInfo } from '../src/watch/value-queue.ts'
import type { WatchOptions } from '../src/watch/watch.ts'
import { TopicRegistry } from '../src/topics/topic-registry.ts'
import { ManualClock, settle } from './manual-clock.ts'

const epoch = 'aaaaaaaaaaaa'

/** An endpoint that a test changes by hand, and a watch of it. */
export class WatchedEndpoint<T = unknown> {
  readonly clock = new ManualClock()
  readonly requests: { at: number; headers: Headers }[] = []
  readonly shown: T[] = []
  readonly infos: WatchInfo[] = []
  readonly errors: unknown[] = []
  readonly parities: Parity[] = []
  /** What was followed: topic and mode, with `end` when it ended. */
  readonly follows: string[] = []
  beginning: Beginning | null = null
  value: unknown = { n: 0 }
  /** The topic that answers name. */
  topic = 't'
  offset = 0
  /** `null`: the endpoint is not wrapped. */
  stage: Stage | null = null
  percent = 100
  kind: 'value' | 'log' = 'value'
  /** A field that the route ignores: the tag is the same whatever it is. */
  ignored: string | null = null
  /** The interval that the header says. */
  every: number | null = null
  isLive = true
  status = 200
  /** Answers are held until the test lets them go. */
  isHeld = false
  readonly topics: TopicRegistry = new TopicRegistry(
    () => {},
    () => {},
    { random: () => 0.5, setTimeout: this.clock.setTimeout, clearTimeout: this.clock.clearTimeout },
  )
  readonly rollouts: KnownRollouts = new KnownRollouts()
  readonly watch: EndpointWatch<T>
  #release: (() => void)[] = []
  /** The version that push told last; the endpoint's own answers say 1. */
  #told = 1

  constructor(
    setUp: Partial<Pick<WatchedEndpoint, 'stage' | 'percent' | 'kind' | 'value'>> = {},
    options: Partial<WatchOptions<T>> = {},
  ) {
    Object.assign(this, setUp)
    this.watch = new EndpointWatch<T>(
      {
        timing: defaultTiming,
        now: this.clock.now,
        random: () => 0.5,
        setTimeout: this.clock.setTimeout,
        clearTimeout: this.clock.clearTimeout,
        fetch: (_url, init) => this.#answer(init),
        clientId: () => 'client',
        baseIs: () => {},
        newest: (header) => this.rollouts.newest(header),
        follow: (topic, beginning, handlers) => this.#follow(topic, beginning, handlers),
        isLive: () => this.isLive && this.topics.get('t')?.isLive === true,
        epochOf: (topic) => this.topics.get(topic)?.epoch ?? null,
        transport: () => 'websocket',
        rest: (topic, answer, asker) => this.topics.rest(topic, answer, asker),
        parity: (_url, parity) => this.parities.push(parity),
      },
      '/api/t',
      { every: 5_000, ...options },
      (value, info) => {
        this.shown.push(value)
        this.infos.push(info)
      },
      (error) => this.errors.push(error),
    )
  }

  /** When requests were sent, ms after the first. */
  get times(): number[] {
    return this.requests.map(({ at }) => at - (this.requests[0]?.at ?? 0))
  }

  /** The endpoint's value changes; nobody is told yet. */
  write(value: unknown): void {
    this.value = value
    this.offset += 1
  }

  /** Push tells the present value, or another one. */
  async push(value: unknown = this.value, offset: number = this.offset): Promise<void> {
    await this.tell({
      type: 'event',
      topic: 't',
      cursor: cursorOf(offset),
      event: 'snapshot',
      data: value,
      hash: hashValue(value),
      at: 1,
    })
  }

  /** The server begins the subscription as it was asked for. */
  async begin(): Promise<void> {
    const subscription = this.topics.get('t')
    if (subscription === undefined) throw new Error('Nothing is followed.')
    const { id, position } = subscription
    const cursor = position.cursor ?? cursorOf(0)
    const asked = { id, cursor: position.cursor }
    this.topics.take({ type: 'subscribed', id, topic: 't', kind: this.kind, cursor, recovered: true }, asked)
    await settle()
  }

  async tell(message: Parameters<TopicRegistry['take']>[0]): Promise<void> {
    const subscription = this.topics.get('t')
    if (subscription !== undefined)
      this.topics.take(message, { id: subscription.id, cursor: subscription.position.cursor })
    await settle()
  }

  /** One event of a log. */
  async event(offset: number, data: unknown, key?: string): Promise<void> {
    const message: EventMessage = { type: 'event', topic: 't', cursor: cursorOf(offset), event: 'said', data, at: 1 }
    await this.tell(key === undefined ? message : { ...message, key })
  }

  /** Push tells a stage; what the endpoint's own answers say is another thing. */
  told(stage: Stage, spreadMs: number = 0): void {
    const rollout = { stage, percent: 100, rest: 'off', version: (this.#told += 1) } as const
    this.rollouts.hear({ type: 'stage', feature: 'f', ...rollout, spread: spreadMs })
    this.watch.onStage('f', rollout, spreadMs)
  }

  /** Lets the oldest held answer go. */
  async release(): Promise<void> {
    this.#release.shift()?.()
    await settle()
  }

  async #answer(init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers)
    this.requests.push({ at: this.clock.now(), headers })
    const { value, offset, status } = this
    const etag = `W/"${hashValue(this.ignored === null ? value : withoutIgnored(value, this.ignored))}"`
    if (this.isHeld) await new Promise<void>((resolve) => this.#release.push(resolve))
    const own = { etag, ...this.#header(offset, value) }
    if (headers.get('if-none-match') === etag) return new Response(null, { status: 304, headers: own })
    return Response.json(value, { status, headers: status === 200 ? own : {} })
  }

  #header(offset: number, value: unknown): Record<string, string> {
    const { stage, percent, kind } = this
    if (stage === null) return {}
    const hash = hashValue(value)
    const text = {
      topic: this.topic,
      cursor: cursorOf(offset),
      hash,
      feature: 'f',
      stage,
      percent,
      rest: 'off' as const,
      version: 1,
      ...(this.every === null ? {} : { every: this.every }),
      base: '/crossfade',
      kind,
    }
    return { crossfade: formatHeader(text) }
  }

  #follow(topic: string, beginning: Beginning, handlers: SubscriptionHandlers): () => void {
    this.beginning = beginning
    this.follows.push(`${topic} ${beginning.mode}`)
    const end = this.topics.follow(topic, beginning, handlers)
    return () => {
      this.follows.push('end')
      end()
    }
  }
}

export function cursorOf(offset: number): string {
  return formatCursor(epoch, offset)
}

function withoutIgnored(value: unknown, field: string): unknown {
  return Object.fromEntries(Object.entries(value as object).filter(([name]) => name !== field))
}
