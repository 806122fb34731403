import type { Client } from 'pg'
import type { WatchedTable } from '../change-feed.ts'
import type { TableComplaint } from './table-complaints.ts'
import { tableName } from './table-set.ts'

/** A table, or one of its partitions: each writes its own old rows into the log. */
interface TableFacts {
  readonly oid: string
  /** As SQL reads it, with its schema. */
  readonly sqlName: string
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
  SELECT c.oid::int8::text AS oid, format('%I.%I', own.nspname, c.relname) AS "sqlName", is_root AS "isRoot", c.relreplident AS identity,
    ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
    ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
      WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END) AS "identityColumns",
    c.relkind = 'p' AS "isEmpty"
  FROM members JOIN pg_class c ON c.oid = members.oid JOIN pg_namespace own ON own.oid = c.relnamespace
  ORDER BY is_root DESC`

/** What the database knows about a watched table. */
export interface CheckedTable {
  /** The number by which the database knows it; `null`: there is no such table. */
  readonly oid: number | null
  /** What keeps it from being followed as rules require. */
  readonly complaints: readonly TableComplaint[]
}

/** Checks whether a table, with its partitions, can be followed as rules require. */
export async function checkTable(client: Client, table: WatchedTable): Promise<CheckedTable> {
  const name = tableName(table)
  const { rows } = await client.query<TableFacts>(factsQuery, [table.schema, table.name])
  const root = rows[0]
  if (root === undefined) {
    const what = `The database has no table ${name}, which a route's rules watch. Run the migrations, or correct the Drizzle table.`
    return {
      oid: null,
      complaints: [{ code: 'feed_table_missing', what, sql: `-- ${name} is missing: run the migrations` }],
    }
  }
  const missing = table.columns.filter((column) => !root.columns.includes(column))
  const lacks = missing.map((column): TableComplaint => ({
    code: 'feed_column_missing',
    what: `The table ${name} has no column ${column}, which its Drizzle table declares. Run the migrations, or correct the name.`,
    sql: `-- ${name} lacks the column ${column}: run the migrations`,
  }))
  const identities = rows.filter((facts) => !facts.isEmpty).flatMap((facts) => identityComplaint(table, facts, missing))
  return { oid: Number(root.oid), complaints: [...lacks, ...identities] }
}

/** An update or delete must carry the columns that say which topics it touches. */
function identityComplaint(table: WatchedTable, facts: TableFacts, missing: readonly string[]): TableComplaint[] {
  if (facts.identity === 'f') return []
  const known = facts.identity === 'n' ? [] : facts.identityColumns
  const unknown = table.routing.filter((column) => !known.includes(column) && !missing.includes(column))
  if (unknown.length === 0 && known.length > 0) return []
  const why =
    unknown.length === 0
      ? 'it has no primary key, and its updates and deletes would fail once it is published'
      : `its old rows do not carry ${unknown.join(', ')}, by which they are assigned to topics`
  const sql = `ALTER TABLE ${facts.sqlName} REPLICA IDENTITY FULL`
  return [
    {
      code: 'feed_replica_identity',
      what: `The table ${facts.isRoot ? tableName(table) : facts.sqlName} cannot be followed as it is: ${why}. Run ${sql}${unknown.length === 0 ? '' : ', or give the rule { moves: false } if these columns never change'}.`,
      sql: `${sql};`,
    },
  ]
}
