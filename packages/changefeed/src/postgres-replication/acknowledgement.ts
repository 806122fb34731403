import type { Lsn } from './lsn.ts'

/**
 * How much of its log the database may discard. It is given exactly the end of the last handled commit: the next commit's record may begin at that
 * very byte, and the server skips what begins before the acknowledged one.
 */
export class Acknowledgement {
  #handled: Lsn = 0n
  #received: Lsn = 0n

  /** The position to acknowledge; 0 is a sign of life without progress. */
  get lsn(): Lsn {
    return this.#handled
  }

  /** Bytes of the log that are known and not handled. */
  get lagBytes(): number {
    return Math.max(0, Number(this.#received - this.#handled))
  }

  /** The log is known to reach up to here. */
  received(lsn: Lsn): void {
    if (lsn > this.#received) this.#received = lsn
  }

  /** The sink has taken a whole transaction, whose commit record ends here. */
  handled(endLsn: Lsn): void {
    if (endLsn > this.#handled) this.#handled = endLsn
    this.received(endLsn)
  }
}
