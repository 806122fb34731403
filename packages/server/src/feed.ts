import type { ChangeFeed, WatchedTable } from '@crossfade/changefeed'
import type { FastifyInstance } from 'fastify'
import type { ChangeRouter } from './topics/change-router.ts'

/** Starts the feed when all routes are known, and stops it when the server closes. */
export function startFeed(app: FastifyInstance, feed: ChangeFeed, router: ChangeRouter): void {
  app.addHook('onReady', async () => {
    feed.watch?.(watchedTables(router))
    await feed.start((batch) => router.handle(batch))
  })
  app.addHook('onClose', () => feed.stop())
}

/** What the rules of all topics need of each table. */
function watchedTables(router: ChangeRouter): WatchedTable[] {
  const tables = new Map<string, WatchedTable>()
  for (const { table } of router.rules()) {
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
