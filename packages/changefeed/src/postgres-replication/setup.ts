import { CrossfadeError } from '@crossfade/protocol'
import type { Client } from 'pg'
import type { WatchedTable } from '../change-feed.ts'

/** What the set-up needs to know. */
export interface SetupOptions {
  readonly slot: string
  readonly publication: string
  readonly tables: readonly WatchedTable[]
}

/** What the set-up found. */
export interface SetupResult {
  /** The slot is new: what happened before it is not in the stream. */
  readonly slotCreated: boolean
}

/**
 * Checks that the database can be followed, and makes the publication and the slot.
 *
 * @throws CrossfadeError `feed_not_logical`, `feed_forbidden`, `feed_table_missing`, `feed_column_missing`, `feed_replica_identity`
 */
export async function setUp(client: Client, options: SetupOptions): Promise<SetupResult> {
  await requireLogical(client)
  await requireReplicationRight(client)
  for (const table of options.tables) await requireTable(client, table)
  await ensurePublication(client, options)
  return { slotCreated: await ensureSlot(client, options.slot) }
}

async function requireLogical(client: Client): Promise<void> {
  const { rows } = await client.query<{ level: string }>(`SELECT current_setting('wal_level') AS level`)
  const level = rows[0]?.level
  if (level === 'logical') return
  throw new CrossfadeError(
    'feed_not_logical',
    `The database has wal_level=${level}, but following its changes needs wal_level=logical. Run ALTER SYSTEM SET wal_level = logical and restart it; on a managed database set rds.logical_replication=1 (Amazon RDS), cloudsql.logical_decoding=on (Cloud SQL) or wal_level (Azure).`,
  )
}

async function requireReplicationRight(client: Client): Promise<void> {
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

interface TableFacts {
  readonly identity: 'd' | 'f' | 'i' | 'n'
  readonly columns: readonly string[] | null
  readonly identityColumns: readonly string[] | null
}

async function requireTable(client: Client, table: WatchedTable): Promise<void> {
  const name = `${table.schema}.${table.name}`
  const { rows } = await client.query<TableFacts>(
    `SELECT c.relreplident AS identity,
       (SELECT array_agg(a.attname::text) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       (SELECT array_agg(a.attname::text) FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
         WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END) AS "identityColumns"
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')`,
    [table.schema, table.name],
  )
  const facts = rows[0]
  if (facts === undefined) {
    throw new CrossfadeError(
      'feed_table_missing',
      `The database has no table ${name}, which a route's rules watch. Run the migrations, or correct the Drizzle table.`,
    )
  }
  const missing = table.columns.find((column) => !facts.columns?.includes(column))
  if (missing !== undefined) {
    throw new CrossfadeError(
      'feed_column_missing',
      `The table ${name} has no column ${missing}, which its Drizzle table declares. Run the migrations, or correct the name.`,
    )
  }
  requireIdentity(name, table, facts)
}

/** An update or delete must carry the columns that say which topics it touches. */
function requireIdentity(name: string, table: WatchedTable, facts: TableFacts): void {
  if (facts.identity === 'f') return
  const known = facts.identity === 'n' ? [] : (facts.identityColumns ?? [])
  const unknown = table.routing.find((column) => !known.includes(column))
  if (unknown === undefined && known.length > 0) return
  const why =
    unknown === undefined
      ? 'it has no primary key, so its updates and deletes would fail'
      : `its old rows do not carry ${unknown}, by which they are assigned to topics`
  throw new CrossfadeError(
    'feed_replica_identity',
    `The table ${name} cannot be followed as it is: ${why}. Run ALTER TABLE ${name} REPLICA IDENTITY FULL.`,
  )
}

async function ensurePublication(client: Client, { publication, tables }: SetupOptions): Promise<void> {
  const wanted = tables.map(({ schema, name }) => `${quote(schema)}.${quote(name)}`).toSorted()
  const { rows } = await client.query(`SELECT 1 FROM pg_publication WHERE pubname = $1`, [publication])
  const name = quote(publication)
  try {
    if (rows.length === 0) {
      const list = wanted.length === 0 ? '' : `FOR TABLE ${wanted.join(', ')}`
      await client.query(`CREATE PUBLICATION ${name} ${list} WITH (publish_via_partition_root = true)`)
      return
    }
    if ((await published(client, publication)).join() !== wanted.join() && wanted.length > 0) {
      await client.query(`ALTER PUBLICATION ${name} SET TABLE ${wanted.join(', ')}`)
    }
  } catch (error) {
    if ((error as { code?: string }).code !== '42501') throw error
    throw new CrossfadeError(
      'feed_forbidden',
      `The user may not publish the tables ${wanted.join(', ')}: it must own them and may CREATE in the database. Or let an owner run CREATE PUBLICATION ${name} FOR TABLE ${wanted.join(', ')}.`,
      { cause: error },
    )
  }
}

async function published(client: Client, publication: string): Promise<string[]> {
  const { rows } = await client.query<{ schemaname: string; tablename: string }>(
    `SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = $1`,
    [publication],
  )
  return rows.map(({ schemaname, tablename }) => `${quote(schemaname)}.${quote(tablename)}`).toSorted()
}

/** @returns whether the slot was made now; one that the server gave up (`lost`) is made anew. */
async function ensureSlot(client: Client, slot: string): Promise<boolean> {
  const { rows } = await client.query<{
    wal_status: string | null
    plugin: string
    database: string | null
    here: string
  }>(`SELECT wal_status, plugin, database, current_database() AS here FROM pg_replication_slots WHERE slot_name = $1`, [
    slot,
  ])
  const found = rows[0]
  if (found !== undefined) {
    if (found.plugin !== 'pgoutput' || found.database !== found.here) {
      throw new CrossfadeError(
        'invalid_options',
        `The replication slot "${slot}" belongs to ${found.plugin} in the database ${found.database}. Choose another slot name.`,
      )
    }
    if (found.wal_status !== 'lost') return false
    await client.query('SELECT pg_drop_replication_slot($1)', [slot])
  }
  await client.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [slot])
  return true
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
