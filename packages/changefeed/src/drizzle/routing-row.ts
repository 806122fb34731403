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

/** The SQL names of the columns that a topic function reads, found by running it on a row that takes notes. */
export function columnsRead(description: TableDescription, read: (row: never) => unknown): string[] {
  const names = new Set<string>()
  const recorder = {}
  for (const { key, name } of description.columns) {
    Object.defineProperty(recorder, key, {
      enumerable: true,
      get(): string {
        names.add(name)
        return ''
      },
    })
  }
  try {
    read(recorder as never)
  } catch {
    // It did more than read columns; what it read until then is known.
  }
  return [...names]
}
