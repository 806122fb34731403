import type { StageMessage } from '@crossfade/protocol'

/** A connection that can be told of stages and be ended by the server. */
export interface OpenConnection {
  tell(message: StageMessage): void
  /** Says `bye` and closes (R26). `retryMs` is when to come back; `null`: not at all. */
  bye(code: number, message: string, retryMs: number | null): void
}

/** All connections of this server, for announcements and for the drain. */
export class OpenConnections {
  readonly #open = new Set<OpenConnection>()
  /** The server drains: nothing new begins. */
  isDraining = false

  /** @returns what takes the connection out again. */
  add(connection: OpenConnection): () => void {
    this.#open.add(connection)
    return () => this.#open.delete(connection)
  }

  get size(): number {
    return this.#open.size
  }

  announce(message: StageMessage): void {
    for (const connection of this.#open) connection.tell(message)
  }

  /** Says `bye` to all, each with its own time to come back, so that they do not come at once. */
  endAll(code: number, message: string, spreadMs: number): void {
    for (const connection of this.#open) connection.bye(code, message, Math.round(Math.random() * spreadMs))
  }
}
