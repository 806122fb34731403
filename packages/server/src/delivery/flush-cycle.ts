/** Something that collects work during a tick and does it at the end. */
export interface Flushable {
  flush(): void
}

/**
 * Lets topics and connections collect what happens in one tick: first every topic that changed hands its batch to its subscribers,
 * then every connection that got something writes once (DESIGN §3.4).
 */
export class FlushCycle {
  readonly #topics = new Set<Flushable>()
  readonly #connections = new Set<Flushable>()
  readonly #report: (error: unknown, context: string) => void
  #scheduled = false

  constructor(report: (error: unknown, context: string) => void) {
    this.#report = report
  }

  /** Flushes a topic at the end of this tick. */
  topic(topic: Flushable): void {
    this.#topics.add(topic)
    this.#schedule()
  }

  /** Flushes a connection at the end of this tick, after the topics. */
  connection(connection: Flushable): void {
    this.#connections.add(connection)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.#run())
  }

  #run(): void {
    this.#scheduled = false
    this.#drain(this.#topics)
    this.#drain(this.#connections)
  }

  /** One that fails never keeps the others from being flushed (R54). */
  #drain(set: Set<Flushable>): void {
    for (const item of set) {
      set.delete(item)
      try {
        item.flush()
      } catch (error) {
        this.#report(error, 'a flush')
      }
    }
  }
}
