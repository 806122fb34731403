import { CrossfadeError } from '@crossfade/protocol'
import { unsent, type Row } from '../change.ts'
import { typedValue, type ColumnDescription, type TableDescription } from './table.ts'

/** Thrown out of a topic function that reads a column which the source did not send. */
export class UnsentColumn extends Error {}

/** Makes rows for topic functions: a column is decoded only when it is read, since few are. */
export type RoutingRows = (row: Row) => object

const rowOf = Symbol('row')

/** @returns rows whose getters throw `UnsentColumn` for a value that the source did not send. */
export function routingRows(description: TableDescription): RoutingRows {
  const prototype = {}
  for (const column of description.columns) {
    Object.defineProperty(prototype, column.key, {
      enumerable: true,
      get(this: { [rowOf]: Row }): unknown {
        const value = typedValue(column, this[rowOf])
        // A column that the source does not know is one that it did not send.
        if (value === unsent || value === undefined) throw new UnsentColumn(column.name)
        return value
      },
    })
  }
  return (row) => Object.create(prototype, { [rowOf]: { value: row } }) as object
}

/** What a topic function reads and gives. */
export interface TopicFunction {
  /** SQL names of the columns that it reads. */
  readonly columns: readonly string[]
  /** Names of the parameters that it gives, or `null` when it cannot be run without a real row. */
  readonly names: readonly string[] | null
  /** Parameters that are a column's value as it is. */
  readonly passedOn: ReadonlyMap<string, ColumnDescription>
}

/**
 * Finds out what a topic function reads and gives, by running it on rows that take notes.
 *
 * @throws CrossfadeError `invalid_options` when it gives no object.
 */
export function examine(description: TableDescription, read: (row: never) => object): TopicFunction {
  const columns = new Set<string>()
  const given = answerTo(description, read, (column) => {
    columns.add(column.name)
    return column.example
  })
  requireObject(description, given)
  return {
    columns: [...columns],
    names: given === null ? null : Object.keys(given),
    passedOn: passedOn(description, read),
  }
}

function requireObject({ schema, name }: TableDescription, given: unknown): void {
  if (typeof given === 'object' && !Array.isArray(given) && !(given instanceof Promise)) return
  if (given instanceof Promise) given.catch(() => {})
  const what = given instanceof Promise ? 'a promise' : Array.isArray(given) ? 'an array' : JSON.stringify(given)
  throw new CrossfadeError(
    'invalid_options',
    `The topic function of a rule for ${schema}.${name} must give the topic's parameters as an object, and gave ${what}. Write (row) => ({ id: row.id }), with the parentheses, and without async.`,
  )
}

function passedOn(description: TableDescription, read: (row: never) => object): Map<string, ColumnDescription> {
  // With letters of both kinds: a function that changes them has made the id canonical itself.
  const markOf = ({ name }: ColumnDescription): string => `Column ${name}`
  const columns = new Map(description.columns.map((column) => [markOf(column), column]))
  const given = answerTo(description, read, markOf) ?? {}
  return new Map(
    Object.entries(given).flatMap(([parameter, value]) => {
      const column = columns.get(String(value))
      return column === undefined ? [] : [[parameter, column]]
    }),
  )
}

/** What the function gives for a row of such values; `null` when it did more than read columns, and failed. */
function answerTo(
  description: TableDescription,
  read: (row: never) => object,
  valueOf: (column: ColumnDescription) => unknown,
): object | null {
  const row = {}
  for (const column of description.columns)
    Object.defineProperty(row, column.key, { enumerable: true, get: () => valueOf(column) })
  try {
    return read(row as never)
  } catch {
    return null
  }
}
