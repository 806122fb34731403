import type { ChangeBatch, Position } from './change.ts'

/** What a feed must deliver of a table. */
export interface WatchedTable {
  readonly schema: string
  readonly name: string
  /** Columns that rules read. */
  readonly columns: readonly string[]
  /** Columns that say to which topic a row belongs: the row's old image must hold them. */
  readonly routing: readonly string[]
}

/** How a feed does. */
export interface FeedStatus {
  readonly state: 'starting' | 'streaming' | 'reconnecting' | 'stopped'
  /** Bytes of the source's log that are not acknowledged yet. */
  readonly lagBytes: number
  /** Age of the oldest change that waits, ms. */
  readonly lagMs: number
  readonly lastError?: string
}

/**
 * Emits committed changes in commit order, at least once; positions make repeats detectable.
 *
 * A transaction is emitted only when a fresh read of the database sees it. `sink` is awaited before the position is acknowledged; a
 * sink that rejects gets the batch again.
 */
export interface ChangeFeed {
  /**
   * Resolves when changes flow; rejects when the source cannot be followed as it is set up.
   *
   * @param from what is at or before this position is not emitted.
   */
  start(sink: (batch: ChangeBatch) => Promise<void>, from?: Position): Promise<void>
  stop(): Promise<void>
  /** Says which tables and columns are needed. Called before `start`. */
  watch?(tables: readonly WatchedTable[]): void
  /** The source's position now. */
  position?(): Promise<Position>
  status?(): FeedStatus
}
