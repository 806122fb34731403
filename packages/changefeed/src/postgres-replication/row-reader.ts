import { unsent, type Row, type RowChange } from '../change.ts'
import type { OldTuple, PgoutputMessage, Relation, Tuple } from './pgoutput.ts'

/** Decodes a column's text by its type. */
export type TypeDecoder = (typeOid: number, text: string) => unknown

/** Turns the stream's tuples into rows, with the relations that it announced. */
export class RowReader {
  readonly #relations = new Map<number, Relation>()
  readonly #decode: TypeDecoder

  constructor(decode: TypeDecoder) {
    this.#decode = decode
  }

  /** Follows the shape of a table, also after an ALTER TABLE (C8). */
  learn(relation: Relation): void {
    this.#relations.set(relation.oid, relation)
  }

  /** The changes that a message carries: none unless it is about rows. */
  read(message: PgoutputMessage): RowChange[] {
    switch (message.kind) {
      case 'insert':
        return this.#change(message.oid, 'insert', null, message.after)
      case 'update':
        return this.#change(message.oid, 'update', message.before, message.after)
      case 'delete':
        return this.#change(message.oid, 'delete', message.before, null)
      case 'truncate':
        return message.oids.flatMap((oid) => this.#change(oid, 'truncate', null, null))
      default:
        return []
    }
  }

  #change(oid: number, op: RowChange['op'], before: OldTuple | null, after: Tuple | null): RowChange[] {
    const relation = this.#relations.get(oid)
    if (relation === undefined) return []
    const old =
      before === null ? null : this.#row(relation, before.keyOnly ? keyOnly(relation, before.values) : before.values)
    const now = after === null ? null : this.#row(relation, after)
    return [{ table: `${relation.schema}.${relation.name}`, op, before: old, after: completed(now, old) }]
  }

  #row(relation: Relation, values: Tuple): Row {
    const row: Record<string, unknown> = {}
    for (const [i, column] of relation.columns.entries()) {
      const value = values[i]
      row[column.name] = typeof value === 'string' ? this.#decode(column.typeOid, value) : (value ?? null)
    }
    return row
  }
}

/** An old image that holds only the key has null in the other columns: they were not sent. */
function keyOnly(relation: Relation, values: Tuple): Tuple {
  return values.map((value, i) => (relation.columns[i]?.isKey ? value : unsent))
}

/** What did not change and was not sent again is in the old image, when that is whole. */
function completed(now: Row | null, old: Row | null): Row | null {
  if (now === null || old === null) return now
  const missing = Object.keys(now).filter((name) => now[name] === unsent && old[name] !== unsent)
  return missing.length === 0 ? now : { ...now, ...Object.fromEntries(missing.map((name) => [name, old[name]])) }
}
