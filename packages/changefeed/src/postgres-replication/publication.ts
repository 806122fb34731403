import { CrossfadeError } from '@crossfade/protocol'
import type { Client } from 'pg'
import type { WatchedTable } from '../change-feed.ts'

/** What was done to the publication. */
export interface PublicationResult {
  readonly isNew: boolean
  /** Tables that it did not hold before, as SQL names. */
  readonly added: readonly string[]
}

const operations = 'insert, update, delete, truncate'
const insufficientPrivilege = '42501'

interface Found {
  readonly isComplete: boolean
  readonly holdsAll: boolean
}

/**
 * Makes the publication hold exactly these tables, with partitions under the name of their root. One that an administrator made, and
 * that may not be altered, may hold more.
 *
 * @throws CrossfadeError `feed_forbidden` when it must be changed and may not be; the message holds the statement to run.
 */
export async function ensurePublication(
  client: Client,
  publication: string,
  tables: readonly WatchedTable[],
): Promise<PublicationResult> {
  const wanted = tables.map(sqlName).toSorted()
  const found = await find(client, publication)
  const name = quote(publication)
  if (found === null) {
    const list = wanted.length === 0 ? '' : ` FOR TABLE ${wanted.join(', ')}`
    await run(
      client,
      `CREATE PUBLICATION ${name}${list} WITH (publish = '${operations}', publish_via_partition_root = true)`,
    )
    return { isNew: true, added: wanted }
  }
  const published = await publishedTables(client, publication)
  const added = wanted.filter((table) => !published.includes(table))
  const mayHoldMore = added.length === 0
  if (!found.holdsAll && wanted.length > 0 && published.join() !== wanted.join()) {
    await run(client, `ALTER PUBLICATION ${name} SET TABLE ${wanted.join(', ')}`, mayHoldMore)
  }
  if (!found.isComplete) {
    await run(client, `ALTER PUBLICATION ${name} SET (publish = '${operations}', publish_via_partition_root = true)`)
  }
  return { isNew: false, added }
}

/** Those of the tables that exist and are not published: dropped and created again, or taken out by somebody. */
export async function unpublished(
  client: Client,
  publication: string,
  tables: readonly WatchedTable[],
): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT format('%s.%s', wanted.schema, wanted.name) AS name
     FROM unnest($2::text[], $3::text[]) AS wanted (schema, name)
     JOIN pg_namespace n ON n.nspname = wanted.schema
     JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')
     WHERE NOT EXISTS (SELECT FROM pg_publication_tables p
       WHERE p.pubname = $1 AND p.schemaname = wanted.schema AND p.tablename = wanted.name)`,
    [publication, tables.map((table) => table.schema), tables.map((table) => table.name)],
  )
  return rows.map((row) => row.name)
}

async function find(client: Client, publication: string): Promise<Found | null> {
  const { rows } = await client.query<Found>(
    `SELECT puballtables AS "holdsAll", pubinsert AND pubupdate AND pubdelete AND pubtruncate AND pubviaroot AS "isComplete"
     FROM pg_publication WHERE pubname = $1`,
    [publication],
  )
  return rows[0] ?? null
}

async function publishedTables(client: Client, publication: string): Promise<string[]> {
  const { rows } = await client.query<{ schema: string; name: string }>(
    `SELECT schemaname AS schema, tablename AS name FROM pg_publication_tables WHERE pubname = $1`,
    [publication],
  )
  return rows.map(sqlName).toSorted()
}

async function run(client: Client, statement: string, isOptional = false): Promise<void> {
  try {
    await client.query(statement)
  } catch (error) {
    if ((error as { code?: string }).code !== insufficientPrivilege) throw error
    if (isOptional) return
    throw new CrossfadeError(
      'feed_forbidden',
      `The user may not publish the tables: it must own them and may CREATE in the database. Or let an owner run: ${statement}`,
      { cause: error },
    )
  }
}

const sqlName = ({ schema, name }: { schema: string; name: string }): string => `${quote(schema)}.${quote(name)}`

const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`
