/** How poll answers and pushed values compared (stage `shadow`). */
export interface Parity {
  readonly agree: number
  readonly disagree: number
  /** What push shows changed around the poll, or the connection broke: nothing can be said. */
  readonly unsettled: number
}

/** What push shows at some time. Its hash may be made only when a poll is compared with it. */
export interface Pushed {
  readonly hash: string
}

/** What a meter goes by. */
export interface ParityOptions {
  readonly now: () => number
  readonly schedule: (run: () => void, ms: number) => void
  readonly graceMs: number
  /** Whether push carries the value now: else it may well be behind. */
  readonly isLive: () => boolean
  readonly report: (parity: Parity) => void
  /** A poll did not agree. */
  readonly differed: () => void
}

/** More than this of what push showed lately is not kept. */
const maxShown = 1_000

/** Compares each poll's answer with what push shows, allowing a grace for what is under way: push may be that much ahead, or behind. */
export class ParityMeter {
  readonly #options: ParityOptions
  /** What push showed lately, oldest first; the last one is shown now. */
  #shown: { readonly pushed: Pushed; until: number }[] = []
  #changedAt = 0
  #parity: Parity = { agree: 0, disagree: 0, unsettled: 0 }

  constructor(options: ParityOptions) {
    this.#options = options
  }

  get parity(): Parity {
    return this.#parity
  }

  /** Push begins from this; `null`: it has nothing yet. */
  begin(pushed: Pushed | null): void {
    this.#shown = []
    if (pushed !== null) this.pushed(pushed)
  }

  /** Push shows this now. */
  pushed(pushed: Pushed): void {
    const now = this.#options.now()
    const last = this.#shown.at(-1)
    if (last !== undefined) last.until = now
    this.#shown.push({ pushed, until: Infinity })
    this.#changedAt = now
    const oldest = now - 2 * this.#options.graceMs
    while (this.#shown.length > maxShown || (this.#shown[0]?.until ?? now) < oldest) this.#shown.shift()
  }

  /** A poll answered this. */
  polled(hash: string): void {
    const { isLive, now, schedule, graceMs } = this.#options
    if (this.#shown.length === 0 || !isLive()) return
    const polledAt = now()
    if (this.#wasShown(hash, polledAt)) this.#count('agree')
    else schedule(() => this.#judge(hash, polledAt), graceMs)
  }

  #judge(hash: string, polledAt: number): void {
    const { isLive, graceMs, differed } = this.#options
    if (this.#wasShown(hash, polledAt)) return this.#count('agree')
    this.#count(!isLive() || this.#changedAt > polledAt - graceMs ? 'unsettled' : 'disagree')
    differed()
  }

  /** Around the poll: the newest first, which it mostly is. */
  #wasShown(hash: string, polledAt: number): boolean {
    const from = polledAt - this.#options.graceMs
    return this.#shown.findLast(({ pushed, until }) => until >= from && pushed.hash === hash) !== undefined
  }

  #count(verdict: keyof Parity): void {
    this.#parity = { ...this.#parity, [verdict]: this.#parity[verdict] + 1 }
    this.#options.report(this.#parity)
  }
}
