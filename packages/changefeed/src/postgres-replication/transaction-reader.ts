import type { RowChange } from '../change.ts'
import type { Delivery } from './delivery.ts'
import type { Lsn } from './lsn.ts'
import { parsePgoutput, type PgoutputMessage } from './pgoutput.ts'
import type { RowReader } from './row-reader.ts'

interface OpenTransaction {
  readonly xid: number
  readonly commitLsn: Lsn
  readonly committedAt: number
  changes: RowChange[]
  bytes: number
  part: number
}

/** Gathers the stream's messages into transactions, and those that are very large into parts. */
export class TransactionReader {
  readonly #rows: RowReader
  readonly #maxChanges: number
  readonly #emit: (delivery: Delivery) => void
  #open: OpenTransaction | null = null

  constructor(rows: RowReader, maxChanges: number, emit: (delivery: Delivery) => void) {
    this.#rows = rows
    this.#maxChanges = maxChanges
    this.#emit = emit
  }

  get isInTransaction(): boolean {
    return this.#open !== null
  }

  read(bytes: Buffer): void {
    const message = parsePgoutput(bytes)
    if (message.kind === 'begin') this.#begin(message)
    else if (message.kind === 'commit') this.#commit(message.endLsn)
    else if (message.kind === 'relation') this.#rows.learn(message.relation)
    else this.#add(this.#rows.read(message), bytes.length)
  }

  #begin({ xid, commitLsn, committedAt }: PgoutputMessage & { kind: 'begin' }): void {
    this.#open = { xid, commitLsn, committedAt, changes: [], bytes: 0, part: 0 }
  }

  #add(changes: readonly RowChange[], bytes: number): void {
    const open = this.#open
    if (open === null) return
    open.changes.push(...changes)
    open.bytes += bytes
    if (open.changes.length < this.#maxChanges) return
    this.#emit({ ...open, endLsn: null })
    this.#open = { ...open, changes: [], bytes: 0, part: open.part + 1 }
  }

  #commit(endLsn: Lsn): void {
    const open = this.#open
    this.#open = null
    if (open !== null) this.#emit({ ...open, endLsn })
  }
}
