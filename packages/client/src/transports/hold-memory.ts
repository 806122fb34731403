const leastMs = 1_000
const keptMs = 600_000

/**
 * How long polls can be held on this path, learnt from proxies that cut them.
 *
 * A gateway's own error says so for sure. A connection that merely broke may be a restarted server: only a second break after the
 * same time counts. What was learnt is forgotten after ten minutes, since the network may be another.
 */
export class HoldMemory {
  readonly #maxMs: number
  #learntMs: number | null = null
  #until = 0
  #brokeAfterMs: number | null = null

  /** @param maxMs what is asked for where nothing cuts. */
  constructor(maxMs: number) {
    this.#maxMs = maxMs
  }

  /** How long to ask for now, ms. */
  ms(now: number): number {
    if (this.#learntMs !== null && now >= this.#until) this.#learntMs = null
    return this.#learntMs ?? this.#maxMs
  }

  /** A gateway answered in the server's place after this time. */
  cut(afterMs: number, now: number): void {
    this.#learn(afterMs, now)
  }

  /** The connection broke after this time. */
  broke(afterMs: number, now: number): void {
    const before = this.#brokeAfterMs
    this.#brokeAfterMs = afterMs
    if (before !== null && Math.abs(before - afterMs) < 0.1 * afterMs) this.#learn(Math.min(before, afterMs), now)
  }

  #learn(afterMs: number, now: number): void {
    this.#learntMs = Math.min(this.#maxMs, Math.max(leastMs, afterMs * 0.8))
    this.#until = now + keptMs
    this.#brokeAfterMs = null
  }
}
