import type { Batch } from '../delivery/batch.ts'

/** Where the messages of one client's connection go: a WebSocket, a stream, or the answer to a poll. */
export interface Outlet {
  /** Takes messages until it is full, and the rest is had by the client's next request; else it takes all or ends. */
  readonly paged: boolean
  /** Sends one message of this connection alone. */
  send(message: object): void
  /**
   * Sends messages that other connections get, too.
   *
   * @param bounded counts against the outbox bound; going over it closes the connection with 4413.
   */
  deliver(batch: Batch, bounded: boolean): void
  /** More waits than the connection writes: value topics skip versions until it drains. */
  congested(): boolean
  /** Resolves when there is room for the next page of a recovery (R9); `false` when this connection takes no more. */
  waitForCapacity(): Promise<boolean>
}
