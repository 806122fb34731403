/** How poll answers and pushed values compared (stage `shadow`). */
export interface Parity {
  readonly agree: number
  readonly disagree: number
  /** The pushed value changed around the poll: nothing can be said. */
  readonly unsettled: number
}

/** Compares each poll's answer with what push shows, allowing a grace for what is under way. */
export class ParityMeter {
  readonly #schedule: (run: () => void, ms: number) => void
  readonly #now: () => number
  readonly #graceMs: number
  readonly #report: (parity: Parity) => void
  #hash: string | null = null
  #changedAt = Number.NEGATIVE_INFINITY
  #parity: Parity = { agree: 0, disagree: 0, unsettled: 0 }

  constructor(options: {
    now: () => number
    schedule: (run: () => void, ms: number) => void
    graceMs: number
    report: (parity: Parity) => void
  }) {
    this.#now = options.now
    this.#schedule = options.schedule
    this.#graceMs = options.graceMs
    this.#report = options.report
  }

  get parity(): Parity {
    return this.#parity
  }

  /** Push shows this now. */
  pushed(hash: string): void {
    if (hash === this.#hash) return
    this.#hash = hash
    this.#changedAt = this.#now()
  }

  /** A poll answered this. */
  polled(hash: string): void {
    if (this.#hash === null) return
    if (hash === this.#hash) return this.#count('agree')
    const polledAt = this.#now()
    this.#schedule(() => this.#judge(hash, polledAt), this.#graceMs)
  }

  #judge(hash: string, polledAt: number): void {
    if (hash === this.#hash) this.#count('agree')
    else this.#count(this.#changedAt > polledAt - this.#graceMs ? 'unsettled' : 'disagree')
  }

  #count(verdict: keyof Parity): void {
    this.#parity = { ...this.#parity, [verdict]: this.#parity[verdict] + 1 }
    this.#report(this.#parity)
  }
}
