import type { Batch } from '../delivery/batch.ts'

/** Where the messages of one client's connection go: a WebSocket, a stream, or the answer to a poll. */
export interface Outlet {
  /** It takes messages until it is full, and the client's next request gets the remainder; otherwise it takes all of them or ends. */
  readonly paged: boolean
  /** Sends a message to this connection alone. */
  send(message: object): void
  /**
   * Sends messages that other connections also get.
   *
   * @param bounded counts against the outbox bound; going over it closes the connection with 4413.
   */
  deliver(batch: Batch, bounded: boolean): void
  /** More is waiting than the connection can write: value topics skip versions until it drains. */
  congested(): boolean
  /** Resolves when there is room for the next page of a recovery (R9); `false` when this connection takes no more messages. */
  waitForCapacity(): Promise<boolean>
}
