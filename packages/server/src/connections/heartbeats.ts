/** A connection that must hear something in each interval. */
export interface Beating {
  /** When something was last written to it, by `performance.now()`. */
  readonly lastWriteAt: number
  /** Called once per interval. `idle`: nothing was written since the last call, so a heartbeat is due (R25). */
  beat(message: { type: 'heartbeat'; at: number; n: number }, idle: boolean): void
}

const slots = 50

/** One timer for the heartbeats of all connections: each is visited once per interval, in its slot. */
export class Heartbeats {
  readonly #slots: Set<Beating>[] = Array.from({ length: slots }, () => new Set())
  #intervalMs = 0
  #timer: NodeJS.Timeout | undefined
  #startedAt = 0
  /** Slots visited since then. */
  #visited = 0
  #n = 0

  constructor(intervalMs: number) {
    this.beatEvery(intervalMs)
  }

  /** Changes the interval. */
  beatEvery(intervalMs: number): void {
    if (intervalMs === this.#intervalMs) return
    clearInterval(this.#timer)
    this.#intervalMs = intervalMs
    this.#startedAt = performance.now()
    this.#visited = 0
    this.#timer = setInterval(() => this.#visit(), intervalMs / slots)
    this.#timer.unref()
  }

  /** @returns removes the connection again. */
  add(connection: Beating): () => void {
    // The slot just visited comes round last: the first heartbeat is a whole interval away.
    const slot = this.#slots[this.#visited % slots] as Set<Beating>
    slot.add(connection)
    return () => slot.delete(connection)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** A timer of a busy process comes late: what it has missed is made up for, so that no connection waits longer for it. */
  #visit(): void {
    const due = Math.floor(((performance.now() - this.#startedAt) * slots) / this.#intervalMs)
    this.#visited = Math.max(this.#visited, due - slots)
    while (this.#visited < due) this.#visitNext()
  }

  #visitNext(): void {
    this.#visited += 1
    const message = { type: 'heartbeat', at: Date.now(), n: (this.#n += 1) } as const
    const idleSince = performance.now() - this.#intervalMs
    for (const connection of this.#slots[this.#visited % slots] as Set<Beating>)
      connection.beat(message, connection.lastWriteAt <= idleSince)
  }
}
