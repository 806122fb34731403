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

/**
 * The state of a feed.
 *
 * - `starting`: `start` has not resolved yet.
 * - `standby`: another process follows the source under the same name; this feed waits to take over.
 * - `streaming`: changes flow to the sink.
 * - `reconnecting`: the connection is lost and is being restored.
 * - `stopped`: not started, stopped, or given up for good.
 */
export type FeedState = 'starting' | 'standby' | 'streaming' | 'reconnecting' | 'stopped'

/** Feed health. */
export interface FeedStatus {
  readonly state: FeedState
  /** Bytes of the source's log that are not acknowledged yet. */
  readonly lagBytes: number
  /** Age of the oldest change that waits, ms. */
  readonly lagMs: number
  readonly lastError?: string
}

/** Options of {@link ChangeFeed.start}. */
export interface FeedStart {
  /** Changes at or before this position are not emitted. */
  readonly from?: Position
  /**
   * While another process follows the source under the same name: resolve in state `standby`, leave that process undisturbed, and
   * take over when it ends. Default `false`: reject with `feed_slot_in_use`.
   */
  readonly standby?: boolean
}

/**
 * Emits committed changes in commit order, at least once; positions make repeats detectable.
 *
 * A transaction is emitted only when a fresh read of the database sees it. `sink` is awaited before the position is acknowledged; a
 * sink that rejects gets the batch again.
 */
export interface ChangeFeed {
  /**
   * Resolves when changes flow, or when the feed stands by. Rejects when the source cannot be followed as it is set up; then it may be
   * started again. Afterwards lost connections are restored without another call.
   */
  start(sink: (batch: ChangeBatch) => Promise<void>, options?: FeedStart): Promise<void>
  stop(): Promise<void>
  /** Says which tables and columns are needed. Called before `start`. */
  watch?(tables: readonly WatchedTable[]): void
  /** The source's position now. */
  position?(): Promise<Position>
  status?(): FeedStatus
  /**
   * Calls the listener each time that `status().state` changes, in the same tick. It must not throw.
   *
   * @returns removes the listener.
   */
  onState?(listener: (state: FeedState) => void): () => void
}
