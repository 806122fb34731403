import { formatCursor, type CursorParts } from '@crossfade/protocol'
import type { LogState } from '../brokers/broker.ts'
import type { Identity } from '../identity/principal.ts'
import type { Batch } from '../delivery/batch.ts'
import type { LiveTopic } from '../topics/live-topic.ts'
import type { EndCode, Subscriber } from '../delivery/subscriber.ts'
import type { Outlet } from './outlet.ts'

/** One client's position in one topic. */
export class Subscription implements Subscriber {
  readonly id: string | undefined
  readonly name: string
  readonly mode: 'events' | 'changes'
  identity: Identity
  readonly #outlet: Outlet
  readonly #onEnd: (subscription: Subscription) => void
  epoch = ''
  offset = 0
  needsSnapshot = true
  topic: LiveTopic | null = null
  /** Replaced, unsubscribed or disconnected: an asynchronous step that finds this must do nothing. */
  ended = false

  constructor(
    request: { id?: string | undefined; topic: string; mode?: 'events' | 'changes' | undefined },
    identity: Identity,
    outlet: Outlet,
    onEnd: (subscription: Subscription) => void,
  ) {
    this.id = request.id
    this.name = request.topic
    this.mode = request.mode ?? 'events'
    this.identity = identity
    this.#outlet = outlet
    this.#onEnd = onEnd
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

  /** A page of a recovery: paced by the drain, so that it does not count against the bound (R9). */
  deliverPage(batch: Batch): void {
    this.#outlet.deliver(batch, false)
  }

  /** Tells the client where its subscription stands (PROTOCOL §5). */
  subscribed(cursor: string, recovered: boolean): void {
    const kind = this.topic?.address.definition.kind
    this.#outlet.send({ type: 'subscribed', ...this.#names(), kind, cursor, recovered })
  }

  reset(state: LogState, reason: string): void {
    const isValue = this.topic?.address.definition.kind === 'value'
    this.epoch = state.epoch
    this.offset = isValue ? 0 : state.head
    this.needsSnapshot = true
    this.#outlet.send({ type: 'reset', topic: this.name, cursor: this.cursor, reason })
  }

  /**
   * Leaves without a word, because the connection takes no more: the client asks again.
   *
   * @param cursor where the client stands, told as its position.
   */
  postpone(cursor: CursorParts | null): void {
    if (cursor === null) {
      if (!this.ended) this.#onEnd(this)
      return
    }
    this.epoch = cursor.epoch
    this.offset = cursor.offset
  }

  end(code: EndCode, message: string): void {
    if (this.ended) return
    this.#outlet.send({ type: 'unsubscribed', ...this.#names(), code, message })
    this.#onEnd(this)
  }

  #names(): { id?: string; topic: string } {
    return { ...(this.id === undefined ? {} : { id: this.id }), topic: this.name }
  }
}
