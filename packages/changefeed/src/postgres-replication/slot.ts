import { CrossfadeError } from '@crossfade/protocol'
import type { Client } from 'pg'
import type { FeedLogger } from './feed-logger.ts'
import { parseLsn, type Lsn } from './lsn.ts'

/** The replication slot as it was found or created. */
export interface Slot {
  /** Why it was created now, so that the stream lacks earlier changes; `null`: it existed. */
  readonly recreatedBecause: string | null
  /** The stream contains nothing from before this location. */
  readonly confirmed: Lsn
}

/** An existing slot. */
export interface FoundSlot {
  readonly isLost: boolean
  readonly plugin: string
  readonly database: string | null
  readonly here: string
  readonly confirmed: string
}

/** How long the creation of a slot may wait for open transactions before a warning says so, ms. */
const patienceMs = 5_000
/** The longest that Node's timers can wait, ms: open transactions end when they end. */
const noTimeoutMs = 2 ** 31 - 1

/**
 * Finds or creates the slot. One that the server has invalidated, or that is older than its publication, is recreated.
 *
 * @throws CrossfadeError `feed_slot_foreign` when the slot belongs to another database or plugin.
 */
export async function ensureSlot(
  client: Client,
  name: string,
  publicationIsNew: boolean,
  logger: FeedLogger,
): Promise<Slot> {
  const found = await findSlot(client, name)
  if (found === null) return create(client, name, 'does not exist any more', logger)
  // The stream would end at the first change before the publication, every time.
  const reason = found.isLost
    ? 'was invalidated by the server'
    : publicationIsNew
      ? 'is older than its publication'
      : null
  if (reason === null) return { recreatedBecause: null, confirmed: parseLsn(found.confirmed) }
  await client.query('SELECT pg_drop_replication_slot($1)', [name])
  return create(client, name, reason, logger)
}

/**
 * Looks up the slot.
 *
 * @throws CrossfadeError `feed_slot_foreign` when it belongs to another database or plugin.
 */
export async function findSlot(client: Client, name: string): Promise<FoundSlot | null> {
  const { rows } = await client.query<FoundSlot>(
    `SELECT coalesce(wal_status = 'lost', false) AS "isLost", plugin, database, current_database() AS here,
       coalesce(confirmed_flush_lsn, '0/0')::text AS confirmed
     FROM pg_replication_slots WHERE slot_name = $1`,
    [name],
  )
  const found = rows[0]
  if (found === undefined) return null
  if (found.plugin !== 'pgoutput' || found.database !== found.here) {
    throw new CrossfadeError(
      'feed_slot_foreign',
      `The replication slot "${name}" belongs to ${found.plugin} in the database ${found.database}. Choose another slot name, or drop that slot if nobody reads it: SELECT pg_drop_replication_slot('${name}')`,
    )
  }
  return found
}

async function create(client: Client, name: string, reason: string, logger: FeedLogger): Promise<Slot> {
  const timer = setTimeout(
    () =>
      logger.warn(
        `The creation of the replication slot "${name}" waits for open transactions to end. See pg_stat_activity for who holds them.`,
      ),
    patienceMs,
  )
  const creation = {
    text: `SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')`,
    values: [name],
    query_timeout: noTimeoutMs,
  }
  try {
    const { rows } = await client.query<{ lsn: string }>(creation)
    return { recreatedBecause: `the replication slot "${name}" ${reason}`, confirmed: parseLsn(rows[0]?.lsn ?? '0/0') }
  } finally {
    clearTimeout(timer)
  }
}
