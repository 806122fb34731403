import { CrossfadeError } from '@crossfade/protocol'
import { unsent, type Row, type RowChange } from '../change.ts'
import type { OldTuple, PgoutputMessage, Relation, Tuple } from './pgoutput.ts'
import { decoderOf, type TypeDecoder } from './type-decoder.ts'
import type { TableSet } from './table-set.ts'

/** A message about rows. */
export type RowMessage = PgoutputMessage & { kind: 'insert' | 'update' | 'delete' | 'truncate' }

/** How the rows of a table are read. */
interface Shape {
  readonly table: string
  readonly columns: readonly { readonly name: string; readonly isKey: boolean; readonly decode: TypeDecoder | null }[]
  /** Columns that rules read and the table no longer has: they count as not sent. */
  readonly absent: readonly string[]
}

/** Turns the stream's tuples into rows, by the shapes that it announces: also after an ALTER TABLE. */
export class RowReader {
  readonly #shapes = new Map<number, Shape | null>()
  readonly #tables: TableSet
  readonly #onShape: (table: string, absent: readonly string[]) => void

  /** @param onShape called with the columns that a table lacks each time the stream describes it; with none when all are there. */
  constructor(tables: TableSet, onShape: (table: string, absent: readonly string[]) => void) {
    this.#tables = tables
    this.#onShape = onShape
  }

  learn(relation: Relation): void {
    const watched = this.#tables.find(relation)
    if (watched === null) {
      this.#shapes.set(relation.oid, null)
      return
    }
    const present = new Set(relation.columns.map((column) => column.name))
    const absent = watched.columns.filter((column) => !present.has(column))
    const columns = relation.columns.map(({ name, isKey, typeOid }) => ({ name, isKey, decode: decoderOf(typeOid) }))
    this.#shapes.set(relation.oid, { table: watched.name, columns, absent })
    this.#onShape(watched.name, absent)
  }

  /**
   * The changes that a message carries; none for a table that nobody watches.
   *
   * @throws CrossfadeError `malformed` when the table was not announced: its columns would be guesses.
   */
  read(message: RowMessage): RowChange[] {
    if (message.kind === 'truncate') return message.oids.flatMap((oid) => this.#truncated(oid))
    const shape = this.#shape(message.oid)
    if (shape === null) return []
    const before = message.kind === 'insert' || message.before === null ? null : oldRow(shape, message.before)
    const after = message.kind === 'delete' ? null : rowOf(shape, message.after)
    if (before !== null && after !== null) complete(after, before)
    return [{ table: shape.table, op: message.kind, before, after }]
  }

  #truncated(oid: number): RowChange[] {
    const shape = this.#shape(oid)
    return shape === null ? [] : [{ table: shape.table, op: 'truncate', before: null, after: null }]
  }

  #shape(oid: number): Shape | null {
    const shape = this.#shapes.get(oid)
    if (shape !== undefined) return shape
    throw new CrossfadeError('malformed', `The replication stream sent a row of table ${oid} without announcing it.`)
  }
}

type MutableRow = Record<string, unknown>

function rowOf(shape: Shape, values: Tuple): MutableRow {
  const row = emptyRow(shape)
  for (let i = 0; i < shape.columns.length; i++) {
    const column = shape.columns[i]
    if (column !== undefined) row[column.name] = decoded(column.decode, values[i])
  }
  return row
}

/** In an old image that holds only the key the other columns are null, but they were not sent. */
function oldRow(shape: Shape, old: OldTuple): MutableRow {
  const row = rowOf(shape, old.values)
  if (old.keyOnly) for (const column of shape.columns) if (!column.isKey) row[column.name] = unsent
  return row
}

function emptyRow(shape: Shape): MutableRow {
  const row: MutableRow = {}
  for (const name of shape.absent) row[name] = unsent
  return row
}

function decoded(decode: TypeDecoder | null, value: Tuple[number] | undefined): unknown {
  if (value === undefined) return unsent
  return typeof value === 'string' && decode !== null ? decode(value) : value
}

/** A value that did not change and was not sent again is in the old image, if that is whole. */
function complete(after: MutableRow, before: Row): void {
  for (const name of Object.keys(after)) if (after[name] === unsent && name in before) after[name] = before[name]
}
