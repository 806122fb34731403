import type { StageMessage } from '@crossfade/protocol'

/** A connection that can be told about stages and be closed by the server. */
export interface OpenConnection {
  tell(message: StageMessage): void
  /** Says `bye` and closes (R26). `retryMs` is when to come back; `null`: not at all. */
  bye(code: number, message: string, retryMs: number | null): void
}

/** All connections of this server, for announcements and for draining. */
export class OpenConnections {
  readonly #open = new Set<OpenConnection>()
  /** The server is draining: nothing new begins. */
  isDraining = false

  /** @returns removes the connection again. */
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

  /** Says `bye` to all, each with its own time to come back, so that they do not all come back together. */
  endAll(code: number, message: string, spreadMs: number): void {
    for (const connection of this.#open) connection.bye(code, message, Math.round(Math.random() * spreadMs))
  }
}
