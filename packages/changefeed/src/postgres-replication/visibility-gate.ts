import { setTimeout as pause } from 'node:timers/promises'
import { isVisible, parseSnapshot, type Snapshot } from './snapshot.ts'

const firstPauseMs = 1
const maxPauseMs = 20

/**
 * Holds a transaction until a fresh read sees it: the write-ahead log delivers a commit before its rows are visible to others, so a
 * re-read on receipt would sometimes find the row as it was.
 */
export class VisibilityGate {
  readonly #read: () => Promise<string>
  #snapshot: Snapshot | null = null

  /** @param read runs `SELECT pg_current_snapshot()` on an ordinary connection. */
  constructor(read: () => Promise<string>) {
    this.#read = read
  }

  /** Resolves when the transaction is visible: what one snapshot sees, all later ones see, so one query serves every transaction that it covers. */
  async pass(xid: number): Promise<void> {
    if (this.#snapshot !== null && isVisible(xid, this.#snapshot)) return
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(maxPauseMs, pauseMs * 2)) {
      this.#snapshot = parseSnapshot(await this.#read())
      if (isVisible(xid, this.#snapshot)) return
      await pause(pauseMs)
    }
  }
}
