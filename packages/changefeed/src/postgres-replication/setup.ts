import { CrossfadeError } from '@crossfade/protocol'
import type { Client } from 'pg'
import type { WatchedTable } from '../change-feed.ts'
import type { FeedLogger } from './feed-logger.ts'
import { requireServer, requireTable } from './preflight.ts'
import { ensurePublication } from './publication.ts'
import { ensureSlot, type Slot } from './slot.ts'
import { TableSet, tableName } from './table-set.ts'

/** What the set-up needs to know. */
export interface SetupOptions {
  readonly slot: string
  readonly publication: string
  readonly tables: readonly WatchedTable[]
  readonly logger: FeedLogger
  /** `null`: a table that cannot be followed is an error. Else it is told, with `null` when it is well, and the others are followed. */
  readonly onTable: ((table: string, error: CrossfadeError | null) => void) | null
}

/** What the set-up found. */
export interface SetupResult {
  readonly source: string
  readonly slot: Slot
  readonly tables: TableSet
  /** Tables that the publication did not hold before. */
  readonly added: readonly string[]
}

/**
 * Checks that the database can be followed, and makes the publication and the slot, in this order: the slot's stream may not begin
 * before its publication.
 *
 * @throws CrossfadeError `feed_not_logical`, `feed_forbidden`, `feed_table_missing`, `feed_column_missing`, `feed_replica_identity`
 */
export async function setUp(client: Client, options: SetupOptions): Promise<SetupResult> {
  await requireServer(client)
  const tables = new TableSet(options.tables)
  const followed = await checkTables(client, options, tables)
  const { isNew, added } = await ensurePublication(client, options.publication, followed)
  const slot = await ensureSlot(client, options.slot, isNew, options.logger)
  return { source: await sourceOf(client, options.slot), slot, tables, added }
}

async function checkTables(client: Client, options: SetupOptions, tables: TableSet): Promise<WatchedTable[]> {
  const followed: WatchedTable[] = []
  for (const table of options.tables) {
    try {
      tables.identify(table, await requireTable(client, table))
      followed.push(table)
      options.onTable?.(tableName(table), null)
    } catch (error) {
      if (options.onTable === null || !(error instanceof CrossfadeError)) throw error
      options.onTable(tableName(table), error)
      // Rows of a table that lacks something are read as far as they go; a table that is gone cannot be published.
      if (error.code !== 'feed_table_missing') followed.push(table)
    }
  }
  return followed
}

/**
 * A restored cluster, another timeline after a failover, or another slot is another source: its positions say nothing about those
 * before.
 */
async function sourceOf(client: Client, slot: string): Promise<string> {
  const { rows } = await client.query<{ id: string; timeline: string }>(
    `SELECT system_identifier::text AS id, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) AS timeline FROM pg_control_system()`,
  )
  return `${rows[0]?.id ?? 'unknown'}.${rows[0]?.timeline ?? ''}/${slot}`
}
