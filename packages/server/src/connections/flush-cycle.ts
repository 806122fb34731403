/** Something that gathers work during a tick and does it at the end. */
export interface Flushable {
  flush(): void
}

/**
 * Lets topics and connections gather what happens in one tick: first every topic that changed hands its batch to its subscribers,
 * then every connection that got something writes once (DESIGN §3.4).
 */
export class FlushCycle {
  readonly #topics = new Set<Flushable>()
  readonly #connections = new Set<Flushable>()
  #scheduled = false

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
    drain(this.#topics)
    drain(this.#connections)
  }
}

function drain(set: Set<Flushable>): void {
  for (const item of set) {
    set.delete(item)
    item.flush()
  }
}
