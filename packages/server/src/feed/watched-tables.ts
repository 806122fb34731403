import type { ChangeRule, WatchedTable } from '@crossfade/changefeed'

/** What the rules together need of each table. */
export function watchedTables(rules: readonly ChangeRule[]): WatchedTable[] {
  const tables = new Map<string, WatchedTable>()
  for (const { table } of rules) {
    const name = `${table.schema}.${table.name}`
    const known = tables.get(name)
    tables.set(name, {
      schema: table.schema,
      name: table.name,
      columns: union(known?.columns, table.columns),
      routing: union(known?.routing, table.routing),
    })
  }
  return [...tables.values()]
}

function union(a: readonly string[] = [], b: readonly string[] = []): string[] {
  return [...new Set([...a, ...b])]
}
