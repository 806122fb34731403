import { CrossfadeError } from '@crossfade/protocol'
import type { Client } from 'pg'
import type { FeedLogger } from './feed-logger.ts'
import { parseLsn, type Lsn } from './lsn.ts'

/** The replication slot as it is found or made. */
export interface Slot {
  /** Why it was made now, so that the stream does not hold what happened before; `null`: it was there. */
  readonly made: string | null
  /** What is before this place is not in the stream. */
  readonly confirmed: Lsn
}

interface FoundSlot {
  readonly isLost: boolean
  readonly plugin: string
  readonly database: string | null
  readonly here: string
  readonly confirmed: string
}

/** How long the making of a slot may wait for open transactions before it is told, ms. */
const patienceMs = 5_000

/**
 * Finds or makes the slot. One that the server gave up, or whose publication is younger than itself, is made anew.
 *
 * @throws CrossfadeError `invalid_options` when the slot is somebody else's.
 */
export async function ensureSlot(
  client: Client,
  name: string,
  publicationIsNew: boolean,
  logger: FeedLogger,
): Promise<Slot> {
  const found = await find(client, name)
  if (found === null) return make(client, name, 'does not exist any more', logger)
  if (found.plugin !== 'pgoutput' || found.database !== found.here) {
    throw new CrossfadeError(
      'invalid_options',
      `The replication slot "${name}" belongs to ${found.plugin} in the database ${found.database}. Choose another slot name.`,
    )
  }
  // The stream would end at the first change before the publication, every time.
  const reason = found.isLost
    ? 'was invalidated by the server'
    : publicationIsNew
      ? 'is older than its publication'
      : null
  if (reason === null) return { made: null, confirmed: parseLsn(found.confirmed) }
  await client.query('SELECT pg_drop_replication_slot($1)', [name])
  return make(client, name, reason, logger)
}

async function find(client: Client, name: string): Promise<FoundSlot | null> {
  const { rows } = await client.query<FoundSlot>(
    `SELECT coalesce(wal_status = 'lost', false) AS "isLost", plugin, database, current_database() AS here,
       coalesce(confirmed_flush_lsn, '0/0')::text AS confirmed
     FROM pg_replication_slots WHERE slot_name = $1`,
    [name],
  )
  return rows[0] ?? null
}

async function make(client: Client, name: string, reason: string, logger: FeedLogger): Promise<Slot> {
  const timer = setTimeout(
    () => logger.warn(`Making the replication slot "${name}" waits for transactions that are open; end them to go on.`),
    patienceMs,
  )
  try {
    const { rows } = await client.query<{ lsn: string }>(
      `SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')`,
      [name],
    )
    return { made: `the replication slot "${name}" ${reason}`, confirmed: parseLsn(rows[0]?.lsn ?? '0/0') }
  } finally {
    clearTimeout(timer)
  }
}
