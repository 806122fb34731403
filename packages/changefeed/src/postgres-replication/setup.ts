import type { CrossfadeError } from '@crossfade/protocol'
import type { Client } from 'pg'
import type { WatchedTable } from '../change-feed.ts'
import type { FeedLogger } from './feed-logger.ts'
import { requireServer } from './preflight.ts'
import { ensurePublication } from './publication.ts'
import { claimSlot, type ClaimOptions } from './slot-claim.ts'
import { ensureSlot, findSlot, type Slot } from './slot.ts'
import { checkTable } from './table-check.ts'
import { isAny, tableError, type TableComplaint } from './table-complaints.ts'
import { TableSet, tableName } from './table-set.ts'

/** What the set-up needs to know. */
export interface SetupOptions extends ClaimOptions {
  readonly slot: string
  readonly publication: string
  readonly tables: readonly WatchedTable[]
  readonly logger: FeedLogger
  /** `null`: a table that cannot be followed is an error. Otherwise it is reported here, `null` when it is fine again, and the others are followed. */
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
 * Checks that the database can be followed, claims the slot, and then creates what is missing: first the publication, then the slot,
 * whose stream may not begin before its publication. Until the claim nothing is changed.
 *
 * @throws CrossfadeError `feed_not_logical`, `feed_forbidden`, `feed_table_missing`, `feed_column_missing`, `feed_replica_identity`,
 * `feed_slot_in_use`, `feed_slot_foreign`
 */
export async function setUp(client: Client, options: SetupOptions): Promise<SetupResult> {
  await requireServer(client)
  // A slot of another database or plugin never becomes ours.
  await findSlot(client, options.slot)
  const { tables, followed } = await checkWhileWaiting(client, options)
  const { isNew, added } = await ensurePublication(client, options.publication, followed)
  const slot = await ensureSlot(client, options.slot, isNew, options.logger)
  return { source: await sourceOf(client, options.slot), slot, tables, added }
}

interface Checked {
  readonly tables: TableSet
  readonly followed: readonly WatchedTable[]
}

/** Faults of the tables are reported immediately, and checked again when the slot is free: migrations may have run meanwhile. */
async function checkWhileWaiting(client: Client, options: SetupOptions): Promise<Checked> {
  let hasWaited = false
  const before = await checkTables(client, options)
  const onHeld = (holder: string): void => {
    hasWaited = true
    options.onHeld(holder)
  }
  await claimSlot(client, options.slot, { ...options, onHeld })
  return hasWaited ? checkTables(client, options) : before
}

async function checkTables(client: Client, options: SetupOptions): Promise<Checked> {
  const tables = new TableSet(options.tables)
  const followed: WatchedTable[] = []
  const all: TableComplaint[] = []
  for (const table of options.tables) {
    const { oid, complaints } = await checkTable(client, table)
    all.push(...complaints)
    options.onTable?.(tableName(table), isAny(complaints) ? tableError(complaints) : null)
    // Rows of a table that lacks something are read as far as they go; a table that is gone cannot be published.
    if (oid === null) continue
    tables.identify(table, oid)
    followed.push(table)
  }
  if (options.onTable === null && isAny(all)) throw tableError(all)
  return { tables, followed }
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
