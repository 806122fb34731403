import type { ChangeRule } from '@crossfade/changefeed'

/** A rule that concerns every change of a table, and one topic without parameters, where nothing else is said. */
export function rule(table: string, more: Partial<ChangeRule> = {}): ChangeRule {
  return {
    table: { schema: 'public', name: table, columns: [], routing: [] },
    ops: ['insert', 'update', 'delete', 'truncate'],
    params: () => ({}),
    ...more,
  }
}
