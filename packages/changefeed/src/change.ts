/**
 * A position in a source's order of commits. Opaque and of fixed width, so that positions of one source compare as strings: `<` is
 * earlier.
 */
export type Position = string

/**
 * The value of a column that the source did not send: an unchanged TOAST value, or a before-image that holds only the key. Never the
 * same as `null`.
 */
export const unsent: unique symbol = Symbol('unsent')

/** A row's columns by their SQL names, decoded. */
export type Row = Readonly<Record<string, unknown>>

/** What happened to a row. */
export type Operation = 'insert' | 'update' | 'delete' | 'truncate'

/** One changed row. */
export interface RowChange {
  /** `schema.name` */
  readonly table: string
  readonly op: Operation
  /** The row as it was: `null` for an insert, and for an update whose source does not send it. */
  readonly before: Row | null
  /** The row as it is: `null` for a delete. */
  readonly after: Row | null
}

/** The changes of one transaction, or a marked part of a very large one. */
export interface ChangeBatch {
  /** Identity of the source, such as a database cluster and its slot: positions compare only within one. */
  readonly source: string
  /** The transaction's position. The parts of one transaction share it. */
  readonly position: Position
  readonly transaction: string
  /** When it was committed, ms since 1970. */
  readonly committedAt: number
  readonly changes: readonly RowChange[]
  /** Present on the parts of a transaction that is too large for one batch. */
  readonly part?: { readonly index: number; readonly last: boolean }
  /** Changes before this batch are lost: every value read before may be old. */
  readonly gap?: { readonly reason: string }
}
