/** How poll answers and pushed values compared (stage `shadow`). */
export interface Parity {
  readonly agree: number
  readonly disagree: number
  /** The pushed value changed around the poll, or the connection broke: nothing can be said. */
  readonly unsettled: number
}

/** What a meter goes by. */
export interface ParityOptions {
  readonly now: () => number
  readonly schedule: (run: () => void, ms: number) => void
  readonly graceMs: number
  /** Whether push carries the value now: else it may well be behind. */
  readonly isLive: () => boolean
  readonly report: (parity: Parity) => void
}

/** Compares each poll's answer with what push shows, allowing a grace for what is under way. */
export class ParityMeter {
  readonly #options: ParityOptions
  #hash: string | null = null
  #changedAt = Number.NEGATIVE_INFINITY
  #parity: Parity = { agree: 0, disagree: 0, unsettled: 0 }

  constructor(options: ParityOptions) {
    this.#options = options
  }

  get parity(): Parity {
    return this.#parity
  }

  /** Push begins from this value. */
  begin(hash: string | null): void {
    this.#hash = hash
    this.#changedAt = Number.NEGATIVE_INFINITY
  }

  /** Push shows this now. */
  pushed(hash: string): void {
    if (hash === this.#hash) return
    this.#hash = hash
    this.#changedAt = this.#options.now()
  }

  /** A poll answered this. */
  polled(hash: string): void {
    const { isLive, now, schedule, graceMs } = this.#options
    if (this.#hash === null || !isLive()) return
    if (hash === this.#hash) return this.#count('agree')
    const polledAt = now()
    schedule(() => this.#judge(hash, polledAt), graceMs)
  }

  #judge(hash: string, polledAt: number): void {
    const { isLive, graceMs } = this.#options
    if (hash === this.#hash) this.#count('agree')
    else this.#count(!isLive() || this.#changedAt > polledAt - graceMs ? 'unsettled' : 'disagree')
  }

  #count(verdict: keyof Parity): void {
    this.#parity = { ...this.#parity, [verdict]: this.#parity[verdict] + 1 }
    this.#options.report(this.#parity)
  }
}
