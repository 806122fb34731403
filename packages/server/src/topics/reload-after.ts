/** Requests further loads some time after a change, for handlers that read from something that lags behind the database. */
export class ReloadAfter {
  readonly #afterMs: readonly number[]
  readonly #want: () => void
  readonly #timers = new Map<number, NodeJS.Timeout>()
  #stopped = false

  /** @param afterMs how long after the last change each load follows, ms. */
  constructor(afterMs: readonly number[], want: () => void) {
    this.#afterMs = afterMs
    this.#want = want
  }

  /** Something changed: loads that are pending for an earlier change now wait for this one. */
  changed(): void {
    if (this.#stopped) return
    for (const ms of this.#afterMs) {
      clearTimeout(this.#timers.get(ms))
      const timer = setTimeout(() => {
        this.#timers.delete(ms)
        this.#want()
      }, ms)
      timer.unref()
      this.#timers.set(ms, timer)
    }
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }
}
