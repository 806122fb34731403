import { CrossfadeError } from '@crossfade/protocol'
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

/** What a {@link TransactionReader} emits. */
export interface TransactionListener {
  delivery(delivery: Delivery): void
  /** A message that someone wrote into the log. */
  message(prefix: string, content: string): void
}

/** A part ends at this size whatever its number of changes. It depends on the stream alone, so that a repeated transaction has the same parts. */
const maxPartBytes = 4 * 1024 * 1024
/** What an object costs beyond its text, roughly. */
const changeOverheadBytes = 200

/** Collects the stream's messages into transactions, and splits very large ones into parts. */
export class TransactionReader {
  readonly #rows: RowReader
  readonly #maxChanges: number
  readonly #listener: TransactionListener
  #open: OpenTransaction | null = null

  constructor(rows: RowReader, maxChanges: number, listener: TransactionListener) {
    this.#rows = rows
    this.#maxChanges = maxChanges
    this.#listener = listener
  }

  get isInTransaction(): boolean {
    return this.#open !== null
  }

  /** @throws CrossfadeError `malformed` when the bytes do not continue the stream. */
  read(bytes: Buffer): void {
    const message = parsePgoutput(bytes)
    switch (message.kind) {
      case 'begin':
        return this.#begin(message)
      case 'commit':
        return this.#commit(message.endLsn)
      case 'relation':
        return this.#rows.learn(message.relation)
      case 'message':
        return this.#listener.message(message.prefix, message.content)
      case 'other':
        return undefined
      default:
        return this.#add(this.#rows.read(message), bytes.length)
    }
  }

  #begin({ xid, commitLsn, committedAt }: PgoutputMessage & { kind: 'begin' }): void {
    this.#open = { xid, commitLsn, committedAt, changes: [], bytes: 0, part: 0 }
  }

  #add(changes: readonly RowChange[], bytes: number): void {
    const open = this.#current()
    if (changes.length === 0) return
    open.changes.push(...changes)
    open.bytes += bytes + changeOverheadBytes
    if (open.changes.length < this.#maxChanges && open.bytes < maxPartBytes) return
    this.#listener.delivery({ ...open, endLsn: null })
    this.#open = { ...open, changes: [], bytes: 0, part: open.part + 1 }
  }

  #commit(endLsn: Lsn): void {
    const open = this.#current()
    this.#open = null
    this.#listener.delivery({ ...open, endLsn })
  }

  #current(): OpenTransaction {
    if (this.#open !== null) return this.#open
    throw new CrossfadeError('malformed', 'The replication stream sent a row or a commit outside of a transaction.')
  }
}
