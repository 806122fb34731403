import { setTimeout as pause } from 'node:timers/promises'
import { CrossfadeError } from '@crossfade/protocol'
import type { ChangeBatch, Position } from '../change.ts'
import type { ChangeFeed, FeedStatus, WatchedTable } from '../change-feed.ts'
import { explainError } from './explain-error.ts'
import type { FeedLogger } from './feed-logger.ts'
import { positionOf } from './lsn.ts'
import { lose, type Progress } from './progress.ts'
import { setUp, type SetupResult } from './setup.ts'
import { SideConnection } from './side-connection.ts'
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
  /** Transactions with more changes come in parts of this size, or of about 4 MiB. Default 10,000. */
  maxTransactionChanges?: number
  /** Bytes that may wait for the sink before the database is made to wait. Default 16 MiB. */
  maxBufferedBytes?: number
  /** How long to wait for a slot that another process holds, ms. Default 10 s. */
  slotWaitMs?: number
  /** What to do when the slot is gone, or was read by somebody else: go on with a batch that says `gap`, or stop with `feed_slot_lost`. Default `gap`. */
  onLostSlot?: 'gap' | 'fail'
  /** Default: warnings and errors to the console. */
  logger?: FeedLogger
}

const defaults = {
  heartbeatMs: 10_000,
  visibilityGate: true,
  maxTransactionChanges: 10_000,
  maxBufferedBytes: 16 * 1024 * 1024,
  slotWaitMs: 10_000,
  onLostSlot: 'gap',
} as const

const quiet: FeedLogger = {
  info: () => {},
  warn: (message) => console.warn(message),
  error: (message) => console.error(message),
}

/**
 * Follows a PostgreSQL database (14 or newer) by logical replication with pgoutput.
 *
 * Each transaction is acknowledged, by exactly the end of its commit record, after the sink has taken it. Its position is the place of
 * its commit record, also for the parts of a large one, which come before the end of that record is known. Lost connections are made
 * again for ever. A table that is dropped, renamed or loses a column while it is followed is told in `status().lastError` and to the
 * logger; the others go on.
 *
 * @returns a feed whose `start` rejects with a CrossfadeError that names the setting to change: `feed_unavailable`, `feed_not_logical`,
 * `feed_forbidden`, `feed_slot_in_use`, `feed_slot_lost`, `feed_table_missing`, `feed_column_missing`, `feed_replica_identity`.
 * @throws CrossfadeError `invalid_options`
 */
export function postgresReplication(options: PostgresReplicationOptions): ChangeFeed {
  if (!/^[a-z0-9_]{1,63}$/.test(options.slot)) {
    throw new CrossfadeError(
      'invalid_options',
      `"${options.slot}" is no slot name: use up to 63 lower-case letters, digits and underscores.`,
    )
  }
  return new PostgresReplicationFeed({ ...defaults, publication: options.slot, logger: quiet, ...given(options) })
}

/** An option that is `undefined` is one that was not given. */
function given(options: PostgresReplicationOptions): PostgresReplicationOptions {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as unknown as PostgresReplicationOptions
}

const firstRetryMs = 100
const retryCapMs = 10_000
/** A session that lived so long was well: the next attempt comes soon. */
const wellMs = 5_000
/** How long `stop` waits for the sink. */
const stopGraceMs = 2_000

class PostgresReplicationFeed implements ChangeFeed {
  readonly #options: StreamOptions
  readonly #problems = new Map<string, string>()
  readonly #progress: Progress = { source: null, position: null, acknowledged: 0n, continues: false, gap: null }
  #watched: readonly WatchedTable[] = []
  #sink: (batch: ChangeBatch) => Promise<void> = () => Promise.resolve()
  #session: StreamSession | null = null
  #side: SideConnection | null = null
  #state: FeedStatus['state'] = 'stopped'
  #stopping = new AbortController()
  #running: Promise<void> = Promise.resolve()

  constructor(options: StreamOptions) {
    this.#options = options
  }

  watch(tables: readonly WatchedTable[]): void {
    this.#watched = tables
  }

  async start(sink: (batch: ChangeBatch) => Promise<void>, from?: Position): Promise<void> {
    if (this.#state !== 'stopped') throw new CrossfadeError('invalid_options', 'The feed is started already.')
    this.#sink = sink
    this.#state = 'starting'
    this.#stopping = new AbortController()
    if (from !== undefined) Object.assign(this.#progress, { position: from, continues: true })
    try {
      await this.#open(true)
    } catch (error) {
      this.#state = 'stopped'
      if (this.#stopping.signal.aborted) {
        throw new CrossfadeError('feed_stopped', 'The feed was stopped while it started.', { cause: error })
      }
      throw explainError(error, this.#options)
    }
    this.#running = this.#keepRunning()
  }

  async stop(): Promise<void> {
    this.#state = 'stopped'
    this.#stopping.abort()
    await this.#release(stopGraceMs)
    await this.#running
  }

  async position(): Promise<Position> {
    if (this.#side === null) {
      throw new CrossfadeError('feed_stopped', 'The feed has no connection to ask for the position. Start it first.')
    }
    return positionOf(await this.#side.logPosition())
  }

  status(): FeedStatus {
    const lastError = [...this.#problems.values()].at(-1)
    return {
      state: this.#state,
      lagBytes: this.#session?.lagBytes ?? 0,
      lagMs: this.#session?.lagMs ?? 0,
      ...(lastError === undefined ? {} : { lastError }),
    }
  }

  /** @param isFirst a table that cannot be followed is an error; later it is told, and the others go on. */
  async #open(isFirst: boolean): Promise<void> {
    const { connectionString, slot, publication, logger } = this.#options
    this.#side = await SideConnection.open(connectionString, slot)
    const onTable = (name: string, error: CrossfadeError | null): void =>
      this.#problem(`table ${name}`, error?.message ?? null)
    try {
      const tables = this.#watched
      const setup = await setUp(this.#side.client, {
        slot,
        publication,
        tables,
        logger,
        onTable: isFirst ? null : onTable,
      })
      this.#judge(setup, isFirst)
      this.#session = await StreamSession.open(this.#options, {
        side: this.#side,
        watched: tables,
        tables: setup.tables,
        confirmed: setup.slot.confirmed,
        progress: this.#progress,
        stopping: this.#stopping.signal,
        sink: (batch) => this.#sink(batch),
        problem: (name, message) => this.#problem(name, message),
      })
    } catch (error) {
      await this.#release()
      throw error
    }
    if (this.#stopping.signal.aborted) await this.#release(stopGraceMs)
    else this.#state = 'streaming'
  }

  /**
   * Is this the stream that was read before?
   *
   * @throws CrossfadeError `feed_slot_lost`
   */
  #judge({ source, slot, added }: SetupResult, isFirst: boolean): void {
    const progress = this.#progress
    const reason = lossOf(progress, { source, slot, added: isFirst ? [] : added })
    Object.assign(progress, { source, continues: true })
    if (reason === null) return
    if (this.#options.onLostSlot === 'fail') {
      throw new CrossfadeError(
        'feed_slot_lost',
        `Changes were lost: ${reason}. Read everything anew, and start the feed without a position.`,
      )
    }
    this.#options.logger.warn(`Changes were lost: ${reason}; all topics are told.`)
    lose(progress, reason)
  }

  /** Waits for each session to end and opens the next, until stopped. */
  async #keepRunning(): Promise<void> {
    for (let failures = 0; this.#session !== null && !this.#stopping.signal.aborted;) {
      const openedAt = performance.now()
      const reason = await this.#session.ended
      if (this.#stopping.signal.aborted) return
      this.#state = 'reconnecting'
      this.#problem('connection', `The replication stream ended and is opened again: ${reason.message}`)
      await this.#release()
      failures = performance.now() - openedAt > wellMs ? 0 : failures + 1
      await this.#reopen(failures)
    }
  }

  async #reopen(failuresBefore: number): Promise<void> {
    for (let failures = failuresBefore; !this.#stopping.signal.aborted; failures++) {
      const capMs = Math.min(retryCapMs, firstRetryMs * 2 ** failures)
      await pause(Math.random() * capMs, undefined, { signal: this.#stopping.signal }).catch(() => {})
      if (this.#stopping.signal.aborted) return
      try {
        await this.#open(false)
        this.#problem('connection', null)
        return
      } catch (error) {
        const explained = explainError(error, this.#options)
        this.#problem('connection', explained.message)
        if (explained.code === 'feed_slot_lost') {
          this.#state = 'stopped'
          return
        }
      }
    }
  }

  async #release(graceMs?: number): Promise<void> {
    const session = this.#session
    const side = this.#side
    this.#session = null
    this.#side = null
    // First: a question that the database never answers must not keep the session from closing.
    const sideClosed = side?.close()
    await session?.close(graceMs)
    await sideClosed
  }

  #problem(name: string, message: string | null): void {
    if (message === null) {
      this.#problems.delete(name)
      return
    }
    if (this.#problems.get(name) !== message) this.#options.logger.error(message)
    this.#problems.delete(name)
    this.#problems.set(name, message)
  }
}

/** Why changes since the last handled one may be missing from the stream; `null`: they are all there. */
function lossOf(
  progress: Progress,
  { source, slot, added }: Pick<SetupResult, 'source' | 'slot' | 'added'>,
): string | null {
  if (progress.source !== null && progress.source !== source)
    return `the database is ${source} and was ${progress.source}`
  if (slot.made !== null) return progress.continues ? slot.made : null
  if (progress.acknowledged > 0n && slot.confirmed > progress.acknowledged) {
    return 'another process has read the replication slot'
  }
  return added.length > 0 ? `${added.join(', ')} was not published for a while` : null
}
