/** Time that a test moves by hand; timers run in their order. */
export class ManualClock {
  #now = 1_000_000
  #count = 0
  readonly #timers = new Map<number, { at: number; run: () => void }>()

  readonly now = (): number => this.#now

  readonly setTimeout = (run: () => void, ms: number): never => {
    this.#count += 1
    this.#timers.set(this.#count, { at: this.#now + ms, run })
    return this.#count as never
  }

  readonly clearTimeout = (timer: unknown): void => {
    this.#timers.delete(timer as number)
  }

  get pending(): number {
    return this.#timers.size
  }

  /** Moves time on, running what falls due, and lets what it causes settle. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await settle()
    for (let due = this.#due(end); due !== undefined; due = this.#due(end)) {
      const [id, { at, run }] = due
      this.#timers.delete(id)
      this.#now = Math.max(this.#now, at)
      run()
      await settle()
    }
    this.#now = end
  }

  /** As when the machine slept: time passes and no timer runs. */
  sleep(ms: number): void {
    this.#now += ms
  }

  #due(end: number): [number, { at: number; run: () => void }] | undefined {
    return [...this.#timers].filter(([, { at }]) => at <= end).toSorted(([, a], [, b]) => a.at - b.at)[0]
  }
}

/** Lets promises that are ready run. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
}
