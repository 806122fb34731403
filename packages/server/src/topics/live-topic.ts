import { formatCursor } from '@crossfade/protocol'
import type { BrokerListener, Entry, LogState, OpenLog } from '../brokers/broker.ts'
import type { FlushCycle, Flushable } from '../connections/flush-cycle.ts'
import { Batch } from './batch.ts'
import type { TopicDefinition } from './definition.ts'
import { changedLine } from './lines.ts'
import type { EndCode, Subscriber } from './subscriber.ts'

/** Where a live topic belongs. */
export interface TopicPlace {
  readonly definition: TopicDefinition
  /** The name on the wire. */
  readonly name: string
  readonly params: Readonly<Record<string, string>>
  /** The key in the broker. */
  readonly key: string
  /** The headers on which the answer depends besides the credentials. */
  readonly headers: Readonly<Record<string, string>>
}

/** A client re-reads within this time for each thousand that were told `changed` together. */
const spreadMsPerThousand = 2000
const maxSpreadMs = 20_000

/** A topic that somebody on this server uses: its open log, its subscribers, and what to tell them at the end of the tick. */
export abstract class LiveTopic implements Flushable {
  readonly place: TopicPlace
  readonly subscribers: Set<Subscriber> = new Set()
  /** Entries since the last flush. */
  protected pending: Entry[] = []
  protected readonly cycle: FlushCycle
  #log: OpenLog | null = null
  #holds = 0
  /** When somebody last asked for it. */
  usedAt: number = performance.now()

  constructor(place: TopicPlace, cycle: FlushCycle) {
    this.place = place
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
    if (this.#log === null) throw new Error(`the log of ${this.place.name} is not open`)
    return this.#log.state()
  }

  /** The cursor of the newest entry. */
  get cursor(): string {
    const { epoch, head } = this.state
    return formatCursor(epoch, head)
  }

  /** Keeps the topic live while something asynchronous is under way; give it back by `release`. */
  hold(): void {
    this.#holds += 1
    this.use()
  }

  release(): void {
    this.#holds -= 1
    this.use()
  }

  /** Notes that somebody asked for the topic: it stays warm for a while (R8). */
  use(): void {
    this.usedAt = performance.now()
  }

  get needed(): boolean {
    return this.subscribers.size > 0 || this.#holds > 0
  }

  isCold(now: number, warmMs: number): boolean {
    return !this.needed && now - this.usedAt > warmMs
  }

  /** Adds a subscriber whose `offset` is the newest: everything after it will be delivered. */
  attach(subscriber: Subscriber): void {
    // Entries of this tick that are not flushed yet were given to the newcomer already.
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

  /** The `changed` message for all subscribers of stage `hint`, spread so that their reads do not come at once (F19). */
  protected changedBatch(): Batch {
    const waitMs = Math.min(maxSpreadMs, Math.floor((this.subscribers.size / 1000) * spreadMsPerThousand))
    return new Batch([changedLine(this.place.name, this.cursor, waitMs)])
  }
}
