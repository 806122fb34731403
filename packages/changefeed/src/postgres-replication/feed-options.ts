import { CrossfadeError } from '@crossfade/protocol'
import { requireConnectionString } from './connection-string.ts'
import type { FeedLogger } from './feed-logger.ts'

/** Options of `postgresReplication`. */
export interface PostgresReplicationOptions {
  /** A direct connection: poolers do not carry replication. */
  connectionString: string
  /** Name of the replication slot: lower-case letters, digits and `_`. One process at a time reads it. */
  slot: string
  /** Name of the publication. Default: the slot's name. */
  publication?: string
  /** How often a heartbeat travels through the database, ms. Default 10 s. */
  heartbeatMs?: number
  /** Hold each transaction back until a fresh read sees it. Default true; turn it off only for a consumer that never reads the database. */
  visibilityGate?: boolean
  /** Transactions with more changes come in parts of this size, or of about 4 MiB. Default 10,000. */
  maxTransactionChanges?: number
  /** Bytes that may wait for the sink before the database is made to wait. Default 16 MiB. */
  maxBufferedBytes?: number
  /** How long to wait for a slot that another process holds, ms, where the feed may not stand by. Default 3 s. */
  slotWaitMs?: number
  /** What to do when the slot is gone, or was read by another process: continue with a batch that says `gap`, or stop with `feed_slot_lost`. Default `gap`. */
  onLostSlot?: 'gap' | 'fail'
  /** Default: warnings and errors to the console. */
  logger?: FeedLogger
}

/** The options with their defaults. */
export type FeedOptions = Readonly<Required<PostgresReplicationOptions>>

const defaults = {
  heartbeatMs: 10_000,
  visibilityGate: true,
  maxTransactionChanges: 10_000,
  maxBufferedBytes: 16 * 1024 * 1024,
  // Fastify allows 10 s for the start: the error that names the slot's user comes before.
  slotWaitMs: 3_000,
  onLostSlot: 'gap',
} as const

const quiet: FeedLogger = {
  info: () => {},
  warn: (message) => console.warn(message),
  error: (message) => console.error(message),
}

/**
 * Fills the defaults in. An option that is `undefined` is one that was not given.
 *
 * @throws CrossfadeError `invalid_options`
 */
export function feedOptions(options: PostgresReplicationOptions): FeedOptions {
  requireConnectionString(options.connectionString)
  if (!/^[a-z0-9_]{1,63}$/.test(options.slot)) {
    throw new CrossfadeError(
      'invalid_options',
      `"${options.slot}" is not a slot name: use up to 63 lower-case letters, digits and underscores.`,
    )
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  return { ...defaults, publication: options.slot, logger: quiet, ...given } as FeedOptions
}
