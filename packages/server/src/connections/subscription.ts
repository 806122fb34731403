import { formatCursor, type CursorParts } from '@crossfade/protocol'
import type { LogState } from '../brokers/broker.ts'
import type { Identity } from '../identity/principal.ts'
import type { Batch } from '../delivery/batch.ts'
import type { LiveTopic } from '../topics/live-topic.ts'
import type { Staleness } from '../delivery/staleness.ts'
import type { EndCode, Subscriber, Supervised } from '../delivery/subscriber.ts'
import type { Outlet } from './outlet.ts'

/** What a subscription asks of its session. */
export interface SubscriptionPorts {
  readonly onEnd: (subscription: Subscription) => void
  /** It was suspended and may continue: delivers what it missed, and everything after that. */
  readonly rejoin: (subscription: Subscription) => void
  /** The time over which clients that lost events should read their endpoints again, ms. */
  readonly spreadMs: () => number
}

/** Events are withheld until the endpoint has said whether the client may still read the topic. */
interface Suspension {
  readonly topic: LiveTopic | null
  /** It was receiving events; otherwise it was still joining, and continues with that by itself. */
  readonly wasAttached: boolean
  /** ms since 1970. */
  readonly since: number
  readonly waiting: (() => void)[]
}

/** One client's subscription to one topic. */
export class Subscription implements Subscriber, Supervised {
  readonly id: string | undefined
  readonly name: string
  readonly mode: 'events' | 'changes'
  identity: Identity
  readonly #outlet: Outlet
  readonly #ports: SubscriptionPorts
  epoch = ''
  offset = 0
  needsSnapshot = true
  topic: LiveTopic | null = null
  /** Replaced, unsubscribed or disconnected: an asynchronous step that finds this set must do nothing. */
  ended = false
  #suspension: Suspension | null = null
  /** Why the topic is stale, as far as the client has been told; `known` if the client itself said so. */
  #told: Staleness['reason'] | 'known' | null

  constructor(
    request: {
      id?: string | undefined
      topic: string
      mode?: 'events' | 'changes' | undefined
      stale?: boolean | undefined
    },
    identity: Identity,
    outlet: Outlet,
    ports: SubscriptionPorts,
  ) {
    this.id = request.id
    this.name = request.topic
    this.mode = request.mode ?? 'events'
    this.#told = request.stale === true ? 'known' : null
    this.identity = identity
    this.#outlet = outlet
    this.#ports = ports
  }

  /** It has a cursor in the topic; until then it waits for the endpoint. */
  get hasBegun(): boolean {
    return this.epoch !== ''
  }

  get cursor(): string {
    return formatCursor(this.epoch, this.offset)
  }

  get paged(): boolean {
    return this.#outlet.paged
  }

  congested(): boolean {
    return this.#outlet.congested()
  }

  deliver(batch: Batch): void {
    this.#outlet.deliver(batch, this.topic?.address.definition.kind === 'log')
  }

  /** A page of a recovery: paced by the drain, so it does not count against the bound (R9). */
  deliverPage(batch: Batch): void {
    this.#outlet.deliver(batch, false)
  }

  /** Tells the client where its subscription stands (PROTOCOL §5). */
  subscribed(cursor: string, recovered: boolean): void {
    const kind = this.topic?.address.definition.kind
    const wait = recovered ? {} : { wait: this.#ports.spreadMs() }
    this.#outlet.send({ type: 'subscribed', ...this.#names(), kind, cursor, recovered, ...wait })
  }

  reset(state: LogState, reason: string): void {
    const isValue = this.topic?.address.definition.kind === 'value'
    this.epoch = state.epoch
    this.offset = isValue ? 0 : state.head
    this.needsSnapshot = true
    this.#outlet.send({ type: 'reset', topic: this.name, cursor: this.cursor, reason, wait: this.#ports.spreadMs() })
  }

  /**
   * Leaves without telling the client, because the connection takes no more messages: the client asks again.
   *
   * @param cursor the cursor that the client is told to resume from.
   */
  postpone(cursor: CursorParts | null): void {
    if (cursor === null) {
      if (!this.ended) this.#ports.onEnd(this)
      return
    }
    this.epoch = cursor.epoch
    this.offset = cursor.offset
  }

  /** Called when it has caught up: tells the client whether the topic is stale, and why, if it does not know (R55). */
  tellStaleness({ staleness, cursor }: LiveTopic): void {
    if (staleness === null) {
      if (this.#told !== null) this.fresh(cursor)
    } else if (this.#told !== 'known' && this.#told !== staleness.reason) this.stale(staleness)
  }

  /** The answer to a poll names each stale topic, even to a client that knows. */
  restateStaleness(): void {
    if (this.topic?.staleness && this.#told === 'known') this.stale(this.topic.staleness)
  }

  stale({ since, reason }: Staleness): void {
    this.#told = reason
    this.#outlet.send({ type: 'stale', topic: this.name, since, reason })
  }

  fresh(cursor: string): void {
    this.#told = null
    this.#outlet.send({ type: 'fresh', topic: this.name, cursor })
  }

  get suspended(): boolean {
    return this.#suspension !== null
  }

  suspend(): void {
    if (this.ended || this.#suspension !== null) return
    const { topic } = this
    // The topic stays live, and what happens meanwhile is delivered from its history.
    topic?.retain()
    const wasAttached = topic?.subscribers.has(this) === true
    topic?.detach(this)
    this.#suspension = { topic, wasAttached, since: Date.now(), waiting: [] }
  }

  tellSuspended(): void {
    // A client that still waits for the endpoint's first answer has been told nothing yet, and keeps waiting.
    if (this.#suspension === null || !this.hasBegun || this.#told === 'unverified') return
    this.stale({ since: this.#suspension.since, reason: 'unverified' })
  }

  resume(): void {
    const suspension = this.#endSuspension()
    if (suspension?.wasAttached === true && !this.ended) this.#ports.rejoin(this)
  }

  /**
   * Waits until the client may be sent something.
   *
   * @returns false when the subscription has ended meanwhile.
   */
  async verified(): Promise<boolean> {
    while (this.#suspension !== null && !this.ended) {
      const { waiting } = this.#suspension
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
    return !this.ended
  }

  /** Gone, or about to go: nothing waits for it any longer. */
  close(): void {
    this.ended = true
    this.#endSuspension()
  }

  #endSuspension(): Suspension | null {
    const suspension = this.#suspension
    this.#suspension = null
    suspension?.topic?.release()
    for (const resolve of suspension?.waiting ?? []) resolve()
    return suspension
  }

  end(code: EndCode, message: string): void {
    if (this.ended) return
    this.#outlet.send({ type: 'unsubscribed', ...this.#names(), code, message })
    this.#ports.onEnd(this)
  }

  #names(): { id?: string; topic: string } {
    return { ...(this.id === undefined ? {} : { id: this.id }), topic: this.name }
  }
}
