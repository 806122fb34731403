import type { Operation, Row, RowChange } from './change.ts'
import type { WatchedTable } from './change-feed.ts'

/** Topic parameters of a row, or `all` when the source did not send what they depend on. */
export type TopicParams<Name extends string = string> = Readonly<Record<Name, string>> | 'all'

/**
 * How a database compares the values of a column where it is looser than text: `042` finds the row 42, and a UUID in capitals its row.
 *
 * - `integer`, `safeInteger` (beyond 2^53 digits are lost), `number`, `uuid`, `boolean`, `date`: one spelling is canonical.
 * - `padded`: `char(n)`, which is sent with blanks up to `length`.
 * - `loose`: other types, such as citext, numeric or times, whose spellings we cannot compare.
 */
export type IdForm =
  | { readonly kind: 'integer' | 'safeInteger' | 'number' | 'uuid' | 'boolean' | 'date' }
  | { readonly kind: 'padded'; readonly length: number }
  | { readonly kind: 'loose'; readonly type: string }

/** A topic parameter that is the value of a column as it is. */
export interface ParameterColumn {
  /** Name of the topic's parameter. */
  readonly parameter: string
  /** SQL name of the column. */
  readonly column: string
  readonly form: IdForm
}

/** Which changes of a table touch which topics of a route. Made by `changes`, `inserts`, `updates`, `deletes` and `rewrites` of `@crossfade/changefeed/drizzle`. */
export interface ChangeRule<Name extends string = string> {
  readonly table: WatchedTable
  readonly ops: readonly Operation[]
  /** Name of the event on a log topic. */
  readonly event?: string
  /** The names of the parameters that `params` gives, where they are known before the first row comes. */
  readonly names?: readonly Name[]
  /** `false`: the columns that route never change, so an old row may lack them. Default: rows move. */
  readonly moves?: boolean
  /** Parameters whose column the database compares more loosely than text. Others are not listed. */
  readonly parameters?: readonly ParameterColumn[]
  params(row: Row): TopicParams<Name>
  /** Log topics: the event's data. Without it the change rewrites the list, and clients read it again. */
  data?(row: Row): unknown
}

/**
 * The topics that a change touches: those of the row as it was and as it is, so that a row that leaves one topic and enters another
 * reaches both.
 */
export function touched(
  rule: ChangeRule,
  change: RowChange,
): { before: TopicParams | null; after: TopicParams | null } {
  if (change.op === 'truncate') return { before: 'all', after: null }
  const before = change.before === null ? null : rule.params(change.before)
  const after = change.after === null ? null : rule.params(change.after)
  // Columns of the old row that were not sent are as in the new one.
  return { before: rule.moves === false && before === 'all' && after !== null ? null : before, after }
}
