import { CrossfadeError } from '@crossfade/protocol'
import type { Client, ClientBase } from 'pg'
import type { WatchedTable } from '../change-feed.ts'
import { tableName } from './table-set.ts'

/** The version from which a heartbeat can travel through the log without a table. */
const oldestVersion = 14
/** From here on the server raises the effective level by itself when the first logical slot is made. */
const selfRaisingVersion = 19

/**
 * Checks what concerns the whole server: version, settings, and the right to replicate. The feed does so at its start; an application may ask
 * before it does anything else to the database.
 *
 * @param client connected.
 * @throws CrossfadeError `feed_not_logical`, `feed_forbidden`
 */
export async function requireServer(client: ClientBase): Promise<void> {
  const { rows } = await client.query<{ level: string; version: number; slots: number; senders: number }>(
    `SELECT current_setting('wal_level') AS level, current_setting('server_version_num')::int / 10000 AS version,
       current_setting('max_replication_slots')::int AS slots, current_setting('max_wal_senders')::int AS senders`,
  )
  const { level = 'unknown', version = 0, slots = 0, senders = 0 } = rows[0] ?? {}
  if (version < oldestVersion) {
    throw new CrossfadeError(
      'feed_not_logical',
      `The database is PostgreSQL ${version}; postgres-replication needs ${oldestVersion} or newer. Upgrade it.`,
    )
  }
  if (level !== 'logical' && !(version >= selfRaisingVersion && level === 'replica')) {
    throw new CrossfadeError(
      'feed_not_logical',
      `The database has wal_level=${level}, but following its changes needs wal_level=logical. Run ALTER SYSTEM SET wal_level = logical and restart it; on a managed database set rds.logical_replication=1 (Amazon RDS), cloudsql.logical_decoding=on (Cloud SQL), or wal_level in the server's parameters (Azure).`,
    )
  }
  for (const [setting, value] of Object.entries({ max_replication_slots: slots, max_wal_senders: senders })) {
    if (value > 0) continue
    throw new CrossfadeError(
      'feed_not_logical',
      `The database has ${setting}=0, but following its changes takes one. Run ALTER SYSTEM SET ${setting} = 10 and restart it.`,
    )
  }
  await requireReplicationRight(client)
}

async function requireReplicationRight(client: ClientBase): Promise<void> {
  const { rows } = await client.query<{ name: string; allowed: boolean }>(
    `SELECT rolname AS name, rolreplication OR rolsuper OR EXISTS (
       SELECT FROM pg_roles AS given WHERE given.rolname = 'rds_replication' AND pg_has_role(pg_roles.oid, given.oid, 'MEMBER')
     ) AS allowed FROM pg_roles WHERE rolname = current_user`,
  )
  if (rows[0]?.allowed === true) return
  const name = rows[0]?.name ?? 'the user'
  throw new CrossfadeError(
    'feed_forbidden',
    `The user ${name} may not replicate. Run ALTER ROLE ${name} REPLICATION (on Amazon RDS: GRANT rds_replication TO ${name}).`,
  )
}

/** A table, or one of its partitions: each writes its own old rows into the log. */
interface TableFacts {
  readonly oid: string
  readonly name: string
  readonly isRoot: boolean
  readonly identity: 'd' | 'f' | 'i' | 'n'
  readonly columns: readonly string[]
  readonly identityColumns: readonly string[]
  /** A partitioned table holds no rows of its own. */
  readonly isEmpty: boolean
}

const factsQuery = `
  WITH root AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')
  ), members AS (
    SELECT oid, true AS is_root FROM root
    UNION ALL
    SELECT leaf.relid, false FROM root, pg_partition_tree(root.oid) AS leaf WHERE leaf.isleaf AND leaf.relid <> root.oid
  )
  SELECT c.oid::int8::text AS oid, c.oid::regclass::text AS name, is_root AS "isRoot", c.relreplident AS identity,
    ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
    ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
      WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END) AS "identityColumns",
    c.relkind = 'p' AS "isEmpty"
  FROM members JOIN pg_class c ON c.oid = members.oid
  ORDER BY is_root DESC`

/**
 * Checks that a table can be followed as rules need it.
 *
 * @returns the number by which the database knows the table.
 * @throws CrossfadeError `feed_table_missing`, `feed_column_missing`, `feed_replica_identity`
 */
export async function requireTable(client: Client, table: WatchedTable): Promise<number> {
  const name = tableName(table)
  const { rows } = await client.query<TableFacts>(factsQuery, [table.schema, table.name])
  const root = rows[0]
  if (root === undefined) {
    throw new CrossfadeError(
      'feed_table_missing',
      `The database has no table ${name}, which a route's rules watch. Run the migrations, or correct the Drizzle table.`,
    )
  }
  const missing = table.columns.find((column) => !root.columns.includes(column))
  if (missing !== undefined) {
    throw new CrossfadeError(
      'feed_column_missing',
      `The table ${name} has no column ${missing}, which its Drizzle table declares. Run the migrations, or correct the name.`,
    )
  }
  for (const facts of rows) if (!facts.isEmpty) requireIdentity(table, facts)
  return Number(root.oid)
}

/** An update or delete must carry the columns that say which topics it touches. */
function requireIdentity(table: WatchedTable, facts: TableFacts): void {
  if (facts.identity === 'f') return
  const known = facts.identity === 'n' ? [] : facts.identityColumns
  const unknown = table.routing.find((column) => !known.includes(column))
  if (unknown === undefined && known.length > 0) return
  const why =
    unknown === undefined
      ? 'it has no primary key, and its updates and deletes would fail once it is published'
      : `its old rows do not carry ${unknown}, by which they are assigned to topics`
  throw new CrossfadeError(
    'feed_replica_identity',
    `The table ${facts.isRoot ? tableName(table) : facts.name} cannot be followed as it is: ${why}. Run ALTER TABLE ${facts.name} REPLICA IDENTITY FULL.`,
  )
}
