import { unsent, type Row } from '../change.ts'
import { typedValue, type TableDescription } from './table.ts'

/** Thrown out of a topic function that reads a column which the source did not send. */
export class UnsentColumn extends Error {}

/** Makes rows for topic functions: each column is decoded when it is read, as they read few. */
export type RoutingRows = (row: Row) => object

const rowOf = Symbol('row')

/** @returns rows whose getters throw `UnsentColumn` where the source did not send the value. */
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
}

/** Finds out what a topic function reads and gives, by running it on a row that takes notes. */
export function examine(description: TableDescription, read: (row: never) => object): TopicFunction {
  const columns = new Set<string>()
  const recorder = {}
  for (const { key, name, example } of description.columns) {
    Object.defineProperty(recorder, key, {
      enumerable: true,
      get(): unknown {
        columns.add(name)
        return example
      },
    })
  }
  let names: string[] | null = null
  try {
    names = Object.keys(read(recorder as never))
  } catch {
    // It did more than read columns; what it read until then is known.
  }
  return { columns: [...columns], names }
}
