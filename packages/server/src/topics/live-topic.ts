import { formatCursor } from '@crossfade/protocol'
import type { BrokerListener, Entry, LogState, OpenLog } from '../brokers/broker.ts'
import type { FlushCycle, Flushable } from '../delivery/flush-cycle.ts'
import { Batch } from '../delivery/batch.ts'
import type { TopicAddress } from '../endpoints/topic-address.ts'
import { changedLine } from '../delivery/lines.ts'
import type { Staleness } from '../delivery/staleness.ts'
import type { EndCode, Subscriber } from '../delivery/subscriber.ts'

/** For each thousand clients that are told `changed` together, their re-reads are spread over this time. */
const spreadMsPerThousand = 2000
const maxSpreadMs = 20_000

/** A topic that is in use on this server: its open log, its subscribers, and what to tell them at the end of the tick. */
export abstract class LiveTopic implements Flushable {
  readonly address: TopicAddress
  readonly subscribers: Set<Subscriber> = new Set()
  /** Entries since the last flush. */
  protected pending: Entry[] = []
  protected readonly cycle: FlushCycle
  #log: OpenLog | null = null
  #retained = 0
  /** When it was last asked for. */
  usedAt: number = performance.now()

  constructor(address: TopicAddress, cycle: FlushCycle) {
    this.address = address
    this.cycle = cycle
  }

  /** What the hub gives the broker when it opens the log. */
  listener(): BrokerListener {
    return {
      entry: (entry) => {
        if (this.subscribers.size === 0) return
        this.pending.push(entry)
        this.cycle.topic(this)
      },
      reset: (state, reason) => {
        this.pending = []
        for (const subscriber of this.subscribers) subscriber.reset(state, reason)
        this.afterReset()
      },
    }
  }

  opened(log: OpenLog): void {
    this.#log = log
  }

  get state(): LogState {
    if (this.#log === null) throw new Error(`the log of ${this.address.name} is not open`)
    return this.#log.state()
  }

  /** The cursor of the newest entry. */
  get cursor(): string {
    const { epoch, head } = this.state
    return formatCursor(epoch, head)
  }

  /** Keeps the topic live while something asynchronous is under way, until `release` is called. */
  retain(): void {
    this.#retained += 1
    this.use()
  }

  release(): void {
    this.#retained -= 1
    this.use()
  }

  /** Notes that the topic was asked for: it stays warm for a while (R8). */
  use(): void {
    this.usedAt = performance.now()
  }

  /** Since when the newest value cannot be loaded; `null`: it can (R55). */
  get staleness(): Staleness | null {
    return null
  }

  get needed(): boolean {
    return this.subscribers.size > 0 || this.#retained > 0
  }

  isCold(now: number, warmMs: number): boolean {
    return !this.needed && now - this.usedAt > warmMs
  }

  /** Adds a subscriber whose `offset` is the newest: everything after it will be delivered. */
  attach(subscriber: Subscriber): void {
    // The new subscriber already has the entries of this tick that are not flushed yet.
    if (this.pending.length > 0) this.flush()
    this.subscribers.add(subscriber)
  }

  detach(subscriber: Subscriber): void {
    if (this.subscribers.delete(subscriber)) this.use()
  }

  endAll(code: EndCode, message: string): void {
    for (const subscriber of this.subscribers) subscriber.end(code, message)
  }

  close(): void {
    this.#log?.close()
  }

  abstract flush(): void

  protected afterReset(): void {}

  /** The `changed` message for all subscribers of stage `hint`, spread so that their reads do not all arrive together. */
  protected changedBatch(): Batch {
    const waitMs = Math.min(maxSpreadMs, Math.floor((this.subscribers.size / 1000) * spreadMsPerThousand))
    return new Batch([changedLine(this.address.name, this.cursor, waitMs)])
  }
}
