import type { ChangeBatch, RowChange } from '../change.ts'
import { positionOf, type Lsn } from './lsn.ts'

/** A transaction, or a part of one, on its way to the sink. */
export interface Delivery {
  readonly xid: number
  readonly commitLsn: Lsn
  readonly committedAt: number
  readonly changes: readonly RowChange[]
  /** About how many bytes of the stream it came from. */
  readonly bytes: number
  readonly part: number
  /** Where the transaction's commit record ends, on its last part: what is acknowledged after it. */
  readonly endLsn: Lsn | null
}

/** What a {@link DeliveryQueue} calls. */
export interface DeliveryPort {
  readonly source: string
  /** Resolves when a fresh read sees the transaction. */
  visible(xid: number): Promise<void>
  sink(batch: ChangeBatch): Promise<void>
  /** A transaction is handled: acknowledge exactly this. */
  handled(endLsn: Lsn, position: string): void
  failed(error: unknown): void
  /** So much waits now. */
  waiting(bytes: number): void
}

const retryCapMs = 5_000

/** Hands transactions to the sink one after the other; a sink that fails gets the same batch again, never the next. */
export class DeliveryQueue {
  readonly #port: DeliveryPort
  readonly #queue: Delivery[] = []
  #bytes = 0
  #running = false
  #stopped = false

  constructor(port: DeliveryPort) {
    this.#port = port
  }

  /** Nothing waits and nothing is under way. */
  get isIdle(): boolean {
    return !this.#running && this.#queue.length === 0
  }

  /** When the transaction that waits longest was committed, ms; `null` when none waits. */
  get oldestAt(): number | null {
    return this.#queue[0]?.committedAt ?? null
  }

  push(delivery: Delivery): void {
    this.#queue.push(delivery)
    this.#bytes += delivery.bytes
    this.#port.waiting(this.#bytes)
    if (!this.#running) void this.#run()
  }

  stop(): void {
    this.#stopped = true
    this.#queue.length = 0
  }

  async #run(): Promise<void> {
    this.#running = true
    for (let next = this.#queue[0]; next !== undefined && !this.#stopped; next = this.#queue[0]) {
      await this.#deliver(next)
      if (this.#stopped) break
      this.#queue.shift()
      this.#bytes -= next.bytes
      this.#port.waiting(this.#bytes)
      if (next.endLsn !== null) this.#port.handled(next.endLsn, positionOf(next.commitLsn))
    }
    this.#running = false
  }

  async #deliver(delivery: Delivery): Promise<void> {
    const isWhole = delivery.part === 0 && delivery.endLsn !== null
    for (let attempt = 0; !this.#stopped; attempt++) {
      try {
        if (delivery.part === 0) await this.#port.visible(delivery.xid)
        if (this.#stopped) return
        if (delivery.changes.length > 0 || !isWhole) await this.#port.sink(this.#batch(delivery, isWhole))
        return
      } catch (error) {
        this.#port.failed(error)
        await new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(retryCapMs, 50 * 2 ** attempt)))
      }
    }
  }

  #batch(delivery: Delivery, isWhole: boolean): ChangeBatch {
    return {
      source: this.#port.source,
      position: positionOf(delivery.commitLsn),
      transaction: String(delivery.xid),
      committedAt: delivery.committedAt,
      changes: delivery.changes,
      ...(isWhole ? {} : { part: { index: delivery.part, last: delivery.endLsn !== null } }),
    }
  }
}
