import type { Position } from '../change.ts'
import type { Lsn } from './lsn.ts'

/** What a feed knows about its source across connections. */
export interface Progress {
  /** Identity of the source; `null` before the first connection. */
  source: string | null
  /** Transactions at or before it have been handled. */
  position: Position | null
  /** The highest acknowledgement sent on this slot. */
  acknowledged: Lsn
  /** A consumer relies on the earlier changes, so a newly created slot means a gap. */
  continues: boolean
  /** A gap that the sink has not been told about yet. */
  gap: string | null
}

/** Notes that a transaction is handled. One that was repeated, only to be acknowledged, does not move the position back. */
export function advance(progress: Progress, position: Position): void {
  if (progress.position === null || position > progress.position) progress.position = position
}

/** Notes that changes are lost. Positions of the old source say nothing about the new one. */
export function recordGap(progress: Progress, reason: string): void {
  progress.gap = reason
  progress.position = null
  progress.acknowledged = 0n
}
