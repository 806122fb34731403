/** What to do when a connection has ended; what is added after that is done immediately. */
export class Cleanups {
  readonly #cleanups: (() => void)[] = []
  #done = false

  add(cleanup: () => void): void {
    if (this.#done) cleanup()
    else this.#cleanups.push(cleanup)
  }

  run(): void {
    this.#done = true
    for (const cleanup of this.#cleanups.splice(0)) cleanup()
  }
}
