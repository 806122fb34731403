import { CrossfadeError } from '@crossfade/protocol'
import { getTableColumns, getTableName, is, Table } from 'drizzle-orm'
import { unsent, type Row } from '../change.ts'
import type { IdForm } from '../rule.ts'
import { decoderOf, type Decoder } from './decoder.ts'
import { idFormOf } from './id-form.ts'

/** One column: its TypeScript key, its SQL name, and how its value becomes the type that Drizzle infers. */
export interface ColumnDescription {
  readonly key: string
  readonly name: string
  readonly decode: Decoder
  /** A value of the type that Drizzle infers, for running a topic function before there is a row. */
  readonly example: unknown
  /** How the database compares its values; `null`: as text. */
  readonly idForm: IdForm | null
}

/** What a rule needs to know about a Drizzle table. */
export interface TableDescription {
  readonly schema: string
  readonly name: string
  readonly columns: readonly ColumnDescription[]
}

/** How Drizzle names the columns that the definition does not name: as the `casing` given to `drizzle()`. */
export type Casing = 'snake_case' | 'camelCase'

const schemaSymbol = Symbol.for('drizzle:Schema')

/** @throws CrossfadeError `invalid_options` when this is not a Drizzle table. */
export function describeTable(table: Table, casing?: Casing): TableDescription {
  if (!is(table, Table)) {
    throw new CrossfadeError('invalid_options', 'A rule needs a Drizzle table, such as pgTable("orders", { … }).')
  }
  const schema = (table as unknown as Record<symbol, unknown>)[schemaSymbol]
  return {
    schema: typeof schema === 'string' ? schema : 'public',
    name: getTableName(table),
    columns: Object.entries(getTableColumns(table)).map(([key, column]) => ({
      key,
      name: casing !== undefined && column.keyAsName ? cased(key, casing) : column.name,
      decode: decoderOf(column),
      example: exampleOf(column.dataType),
      idForm: idFormOf(column),
    })),
  }
}

/** Drizzle 1 says more of a type, such as "number int32" and "object date". */
function exampleOf(dataType: string): unknown {
  if (dataType.startsWith('number')) return 0
  if (dataType.startsWith('bigint')) return 0n
  if (dataType.startsWith('boolean')) return false
  if (dataType.startsWith('array')) return []
  if (/\bdate$/.test(dataType)) return new Date(0)
  return /\bjson$/.test(dataType) ? {} : ''
}

function cased(key: string, casing: Casing): string {
  if (casing === 'camelCase') return key.replace(/_+([a-z0-9])/gi, (_match, letter: string) => letter.toUpperCase())
  return key
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/([A-Z]+)([A-Z][a-z])/g, '$1_$2')
    .toLowerCase()
}

/** The row under the TypeScript keys of the table's definition. */
export function typedRow(description: TableDescription, row: Row): Record<string, unknown> {
  const typed: Record<string, unknown> = {}
  for (const column of description.columns) typed[column.key] = typedValue(column, row)
  return typed
}

/** One value of a row; `unsent` and `null` stay what they are. */
export function typedValue({ name, decode }: ColumnDescription, row: Row): unknown {
  const value = row[name]
  return value === null || value === undefined || value === unsent ? value : decode(value)
}
