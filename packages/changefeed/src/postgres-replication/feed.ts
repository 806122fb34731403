import { CrossfadeError } from '@crossfade/protocol'
import type { ChangeBatch, Position } from '../change.ts'
import type { ChangeFeed, FeedStatus, WatchedTable } from '../change-feed.ts'
import type { FeedLogger } from './feed-logger.ts'
import { loadPg } from './load-pg.ts'
import { StreamSession, type StreamOptions } from './stream-session.ts'

/** Options of {@link postgresReplication}. */
export interface PostgresReplicationOptions {
  /** A direct connection: poolers do not carry replication. */
  connectionString: string
  /** Name of the replication slot: lower-case letters, digits and `_`. One process at a time reads it. */
  slot: string
  /** Name of the publication. Default: the slot's name. */
  publication?: string
  /** How often a heartbeat travels through the database, ms. Default 10 s. */
  heartbeatMs?: number
  /** Hold each transaction until a fresh read sees it. Default true; turn it off only for a consumer that never reads the database. */
  visibilityGate?: boolean
  /** Transactions with more changes come in parts of this size. Default 10,000. */
  maxTransactionChanges?: number
  /** Bytes that may wait for the sink before the database is made to wait. Default 16 MiB. */
  maxBufferedBytes?: number
  /** How long to wait for a slot that another process holds, ms. Default 10 s. */
  slotWaitMs?: number
  logger?: FeedLogger
}

const retryCapMs = 10_000

/**
 * Follows a PostgreSQL database (14 or newer) by logical replication with pgoutput.
 *
 * Each transaction is acknowledged, by exactly the end of its commit record, after the sink has taken it. Lost connections are made again
 * for ever; a slot that was lost is announced as a gap.
 *
 * @returns a feed whose `start` rejects with a CrossfadeError that names the setting to change: `feed_unavailable`, `feed_not_logical`,
 * `feed_forbidden`, `feed_slot_in_use`, `feed_table_missing`, `feed_column_missing`, `feed_replica_identity`.
 */
export function postgresReplication(options: PostgresReplicationOptions): ChangeFeed {
  if (!/^[a-z0-9_]{1,63}$/.test(options.slot)) {
    throw new CrossfadeError(
      'invalid_options',
      `"${options.slot}" is no slot name: use up to 63 lower-case letters, digits and underscores.`,
    )
  }
  return new PostgresReplicationFeed({
    connectionString: options.connectionString,
    slot: options.slot,
    publication: options.publication ?? options.slot,
    heartbeatMs: options.heartbeatMs ?? 10_000,
    visibilityGate: options.visibilityGate ?? true,
    maxTransactionChanges: options.maxTransactionChanges ?? 10_000,
    maxBufferedBytes: options.maxBufferedBytes ?? 16 * 1024 * 1024,
    slotWaitMs: options.slotWaitMs ?? 10_000,
    logger: options.logger ?? { info: () => {}, warn: console.warn },
  })
}

class PostgresReplicationFeed implements ChangeFeed {
  readonly #options: StreamOptions
  #tables: readonly WatchedTable[] = []
  #sink: ((batch: ChangeBatch) => Promise<void>) | null = null
  #position: Position | null = null
  #session: StreamSession | null = null
  #state: FeedStatus['state'] = 'stopped'
  #lastError: string | null = null
  #running: Promise<void> = Promise.resolve()
  #wake: (() => void) | null = null

  constructor(options: StreamOptions) {
    this.#options = options
  }

  watch(tables: readonly WatchedTable[]): void {
    this.#tables = tables
  }

  async start(sink: (batch: ChangeBatch) => Promise<void>, from?: Position): Promise<void> {
    this.#sink = sink
    this.#position = from ?? null
    this.#state = 'starting'
    await loadPg()
    try {
      await this.#open(from !== undefined)
    } catch (error) {
      this.#state = 'stopped'
      throw explain(error, this.#options)
    }
    this.#running = this.#keepRunning()
  }

  async stop(): Promise<void> {
    this.#state = 'stopped'
    this.#wake?.()
    await this.#session?.close()
    await this.#running
  }

  async position(): Promise<Position> {
    if (this.#session === null)
      throw new CrossfadeError('feed_stopped', 'The feed has no connection to ask for the position.')
    return this.#session.sourcePosition()
  }

  status(): FeedStatus {
    return {
      state: this.#state,
      lagBytes: this.#session?.lagBytes ?? 0,
      lagMs: this.#session?.lagMs ?? 0,
      ...(this.#lastError === null ? {} : { lastError: this.#lastError }),
    }
  }

  get #isStopped(): boolean {
    return this.#state === 'stopped'
  }

  /** @param continues a slot made anew means that changes since the last position are lost. */
  async #open(continues: boolean): Promise<void> {
    const sink = this.#sink as (batch: ChangeBatch) => Promise<void>
    const session = await StreamSession.open(this.#options, {
      tables: this.#tables,
      position: this.#position,
      continues,
      sink,
      handled: (position) => (this.#position = position),
      failed: (error) => this.#note(error, 'The sink failed; the same changes are given again'),
    })
    this.#session = session
    if (this.#isStopped) await session.close()
    else this.#state = 'streaming'
  }

  /** Waits for the stream to end and opens the next, until stopped. */
  async #keepRunning(): Promise<void> {
    for (let attempt = 0; !this.#isStopped;) {
      try {
        const session = this.#session
        this.#session = null
        if (session !== null) {
          attempt = 0
          this.#session = session
          await session.ended
        }
        await this.#open(true)
      } catch (error) {
        if (this.#isStopped) return
        this.#state = 'reconnecting'
        this.#session = null
        this.#note(error, 'The replication stream ended; it is opened again')
        await this.#pause(Math.random() * Math.min(retryCapMs, 100 * 2 ** attempt))
        attempt += 1
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      setTimeout(resolve, ms).unref()
    })
  }

  #note(error: unknown, what: string): void {
    this.#lastError = error instanceof Error ? error.message : String(error)
    this.#options.logger.warn(`${what}: ${this.#lastError}`)
  }
}

/** What PostgreSQL and the network say, in words that name the way out. */
function explain(error: unknown, options: StreamOptions): unknown {
  if (error instanceof CrossfadeError) return error
  const { code, message } = error as { code?: string; message?: string }
  if (code === '42501' || code === '28000' || code === '28P01') {
    return new CrossfadeError(
      'feed_forbidden',
      `The database refuses the feed: ${message}. Check the user and password, and that the role has REPLICATION.`,
      { cause: error },
    )
  }
  const where = hostOf(options.connectionString)
  return new CrossfadeError(
    'feed_unavailable',
    `The database at ${where} cannot be followed: ${message}. Check that it runs and that the connection is direct, not through a pooler.`,
    { cause: error },
  )
}

/** Never the password. */
function hostOf(connectionString: string): string {
  try {
    const url = new URL(connectionString)
    return `${url.host}${url.pathname}`
  } catch {
    return 'the given connection string'
  }
}
