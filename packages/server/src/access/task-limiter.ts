/** Lets at most this many tasks run at once; the others wait in order. */
export class TaskLimiter {
  readonly #max: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(max: number) {
    this.#max = max
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#max) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#running += 1
    try {
      return await task()
    } finally {
      const next = this.#waiting.shift()
      // The turn passes to the next task directly, so that no other task can take it in between.
      if (next) next()
      else this.#running -= 1
    }
  }
}
