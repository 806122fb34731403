import type { Operation, Row, RowChange } from './change.ts'
import type { WatchedTable } from './change-feed.ts'

/** Topic parameters of a row, or `all` when the source did not send what they depend on. */
export type TopicParams<Name extends string = string> = Readonly<Record<Name, string>> | 'all'

/** Which changes of a table touch which topics of a route. Made by `changes`, `inserts`, `updates`, `deletes` and `rewrites` of `@crossfade/changefeed/drizzle`. */
export interface ChangeRule<Name extends string = string> {
  readonly table: WatchedTable
  readonly ops: readonly Operation[]
  /** Name of the event on a log topic. */
  readonly event?: string
  /** The names of the parameters that `params` gives, where they are known before the first row comes. */
  readonly names?: readonly Name[]
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
  return {
    before: change.before === null ? null : rule.params(change.before),
    after: change.after === null ? null : rule.params(change.after),
  }
}
