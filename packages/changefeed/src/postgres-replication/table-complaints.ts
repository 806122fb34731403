import { CrossfadeError } from '@crossfade/protocol'

/** Why a table cannot be followed as rules require. */
export interface TableComplaint {
  readonly code: 'feed_table_missing' | 'feed_column_missing' | 'feed_replica_identity'
  /** What is wrong and what to do, in words. */
  readonly what: string
  /** The statement that fixes it, or a comment where no statement can. */
  readonly sql: string
}

/**
 * One error for everything that is wrong with the tables, so that one script fixes it.
 *
 * @param complaints at least one.
 * @returns an error with the code of the first.
 */
export function tableError(complaints: readonly [TableComplaint, ...TableComplaint[]]): CrossfadeError {
  const [first, ...others] = complaints
  if (others.length === 0) return new CrossfadeError(first.code, first.what)
  const list = complaints.map(({ what }) => `- ${what}`)
  const script = complaints.map(({ sql }) => sql)
  return new CrossfadeError(
    first.code,
    [
      `${complaints.length} things keep the database's changes from being followed:`,
      ...list,
      "All together, as the tables' owner:",
      '',
      ...script,
    ].join('\n'),
  )
}

export const isAny = <T>(list: readonly T[]): list is readonly [T, ...T[]] => list.length > 0
