import { setTimeout as pause } from 'node:timers/promises'
import type { ChangeBatch, RowChange } from '../change.ts'
import { positionOf, type Lsn } from './lsn.ts'

/** A transaction, a part of one, or the news of a gap, on its way to the sink. */
export interface Delivery {
  readonly xid: number
  readonly commitLsn: Lsn
  readonly committedAt: number
  readonly changes: readonly RowChange[]
  /** About how many bytes it holds in memory. */
  readonly bytes: number
  readonly part: number
  /** Where the transaction's commit record ends, on its last part: what is acknowledged after it. */
  readonly endLsn: Lsn | null
  readonly gap?: string
}

/** The callbacks of a {@link DeliveryQueue}. */
export interface DeliveryPort {
  readonly source: string
  /** Resolves when a fresh read sees the transaction. */
  visible(xid: number): Promise<void>
  sink(batch: ChangeBatch): Promise<void>
  /** The sink has taken it, or there was nothing to send. */
  handled(delivery: Delivery): void
  /** The sink rejected; the same batch is delivered again. */
  failed(error: unknown): void
  /** How many bytes are waiting. */
  waiting(bytes: number): void
}

interface Waiting {
  readonly delivery: Delivery
  readonly arrivedAt: number
}

const firstRetryMs = 50
const retryCapMs = 5_000

/** Hands transactions to the sink one after another. A sink that fails gets the same batch again, never the next. */
export class DeliveryQueue {
  readonly #port: DeliveryPort
  readonly #queue: Waiting[] = []
  readonly #closing = new AbortController()
  #bytes = 0
  #running: Promise<void> | null = null

  constructor(port: DeliveryPort) {
    this.#port = port
  }

  /** Nothing is waiting and nothing is under way. */
  get isIdle(): boolean {
    return this.#running === null
  }

  /** How long the oldest has been waiting, ms. */
  get waitMs(): number {
    const oldest = this.#queue[0]
    return oldest === undefined ? 0 : performance.now() - oldest.arrivedAt
  }

  push(delivery: Delivery): void {
    if (this.#closing.signal.aborted) return
    this.#queue.push({ delivery, arrivedAt: performance.now() })
    this.#bytes += delivery.bytes
    this.#port.waiting(this.#bytes)
    this.#running ??= this.#run()
  }

  /** Drops what is waiting, and resolves when the sink has answered the last batch. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const taken = await this.#deliver(next.delivery)
      if (!taken) break
      this.#queue.shift()
      this.#bytes -= next.delivery.bytes
      this.#port.handled(next.delivery)
      this.#port.waiting(this.#bytes)
    }
    // In the same step as the last check of the queue: the next push starts it again.
    this.#running = null
  }

  /** @returns whether the sink took it; `false` only when the queue is closed. */
  async #deliver(delivery: Delivery): Promise<boolean> {
    const { signal } = this.#closing
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        if (delivery.part === 0 && delivery.gap === undefined) await this.#port.visible(delivery.xid)
        if (signal.aborted) return false
        if (mustReachSink(delivery)) await this.#port.sink(batchOf(delivery, this.#port.source))
        return true
      } catch (error) {
        if (signal.aborted) return false
        this.#port.failed(error)
        const retryMs = Math.random() * Math.min(retryCapMs, firstRetryMs * 2 ** attempt)
        await pause(retryMs, undefined, { signal }).catch(() => {})
      }
    }
    return false
  }
}

const isWhole = ({ part, endLsn }: Delivery): boolean => part === 0 && endLsn !== null

/** The last part of a large transaction goes to the sink even when it is empty: it says that no more parts follow. */
function mustReachSink(delivery: Delivery): boolean {
  return delivery.changes.length > 0 || delivery.gap !== undefined || !isWhole(delivery)
}

function batchOf(delivery: Delivery, source: string): ChangeBatch {
  const { commitLsn, xid, committedAt, changes, part, endLsn, gap } = delivery
  const common = { source, position: positionOf(commitLsn), transaction: String(xid), committedAt, changes }
  if (gap !== undefined) return { ...common, gap: { reason: gap } }
  return isWhole(delivery) ? common : { ...common, part: { index: part, last: endLsn !== null } }
}
