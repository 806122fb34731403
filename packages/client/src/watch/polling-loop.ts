import type { Timer } from '../environment.ts'

/** What a loop needs. */
export interface PollingLoopPort {
  /** The interval, which may change. */
  readonly everyMs: () => number
  readonly now: () => number
  readonly setTimeout: (run: () => void, ms: number) => Timer
  readonly clearTimeout: (timer: Timer | null) => void
  /** Whether this tick of the interval is to read. */
  isDue(): boolean
  /** Reads may overlap, as those of `setInterval(fetch)` do. */
  mayOverlap(): boolean
  /** Never rejects. */
  read(): Promise<void>
}

/** Reads that push asks for are at most this far apart, unless the interval is shorter. */
const spacingMs = 1_000

/**
 * The reads of one endpoint: at once, in each interval when due, and when something asks for one. The interval never stops, so that whatever
 * fails the page is at most one interval from the loop that it had.
 */
export class PollingLoop {
  readonly #port: PollingLoopPort
  #timer: Timer
  #soon: Timer | null = null
  #reads = 0
  #isWanted = false
  #startedAt = Number.NEGATIVE_INFINITY
  #stopped = false

  constructor(port: PollingLoopPort) {
    this.#port = port
    void this.read()
    this.#timer = this.#tick()
  }

  get isReading(): boolean {
    return this.#reads > 0
  }

  /** Reads now; while a read is under way, after it. */
  async read(): Promise<void> {
    if (this.#stopped) return
    if (this.#reads > 0 && !this.#port.mayOverlap()) {
      this.#isWanted = true
      return
    }
    this.#reads += 1
    this.#startedAt = this.#port.now()
    await this.#port.read()
    this.#reads -= 1
    if (this.#reads > 0 || !this.#isWanted) return
    this.#isWanted = false
    await this.read()
  }

  /** Reads after this time; what asks meanwhile is answered by the same read. */
  readSoon(ms: number): void {
    if (this.#soon !== null || this.#stopped) return
    const { everyMs, now, setTimeout } = this.#port
    const earliestMs = this.#startedAt + Math.min(everyMs(), spacingMs) - now()
    this.#soon = setTimeout(
      () => {
        this.#soon = null
        void this.read()
      },
      Math.max(ms, earliestMs, 0),
    )
  }

  stop(): void {
    this.#stopped = true
    this.#port.clearTimeout(this.#timer)
    this.#port.clearTimeout(this.#soon)
  }

  #tick(): Timer {
    return this.#port.setTimeout(() => {
      this.#timer = this.#tick()
      if (this.#port.isDue()) void this.read()
    }, this.#port.everyMs())
  }
}
