import { setTimeout as pause } from 'node:timers/promises'
import { CrossfadeError } from '@crossfade/protocol'
import type { ChangeBatch, Position } from '../change.ts'
import type { ChangeFeed, FeedStart, FeedState, FeedStatus, WatchedTable } from '../change-feed.ts'
import { explainError } from './explain-error.ts'
import { feedOptions, type FeedOptions, type PostgresReplicationOptions } from './feed-options.ts'
import { lossOf } from './lost-changes.ts'
import { positionOf } from './lsn.ts'
import { recordGap, type Progress } from './progress.ts'
import { setUp, type SetupResult } from './setup.ts'
import { SideConnection } from './side-connection.ts'
import { releaseSlot } from './slot-claim.ts'
import { StreamSession } from './stream-session.ts'

/**
 * Follows a PostgreSQL database (14 or newer) by logical replication with pgoutput.
 *
 * Each transaction is acknowledged, by exactly the end of its commit record, after the sink has taken it. Its position is the place of
 * its commit record, also for the parts of a large one, which come before the end of that record is known. Lost connections are made
 * again without end. A table that is dropped, renamed or loses a column while it is followed is reported in `status().lastError` and to the
 * logger; the others go on.
 *
 * One process at a time follows a slot. Others stand by if `start` lets them, and look four times a second whether it is free; the running
 * one's publication and slot are not touched before.
 *
 * @returns a feed whose `start` rejects with a CrossfadeError that names what to change: `feed_unavailable`, `feed_not_logical`,
 * `feed_forbidden`, `feed_slot_in_use`, `feed_slot_foreign`, `feed_slot_lost`, `feed_table_missing`, `feed_column_missing`,
 * `feed_replica_identity`; with `invalid_options` when it is started already or the package pg is not installed.
 * @throws CrossfadeError `invalid_options`
 */
export function postgresReplication(options: PostgresReplicationOptions): ChangeFeed {
  return new PostgresReplicationFeed(feedOptions(options))
}

const firstRetryMs = 100
const retryCapMs = 10_000
/** A session that lived this long counts as healthy: the next attempt follows soon. */
const healthyAfterMs = 5_000
/** How long `stop` waits for the sink. */
const stopGraceMs = 2_000

/** Settles the promise of `start`, once. */
interface Starting {
  readonly resolve: () => void
  readonly reject: (error: CrossfadeError) => void
}

class PostgresReplicationFeed implements ChangeFeed {
  readonly #options: FeedOptions
  readonly #problems = new Map<string, string>()
  readonly #progress: Progress = { source: null, position: null, acknowledged: 0n, continues: false, gap: null }
  readonly #listeners = new Set<(state: FeedState) => void>()
  #watched: readonly WatchedTable[] = []
  #sink: (batch: ChangeBatch) => Promise<void> = () => Promise.resolve()
  #standby = false
  #session: StreamSession | null = null
  #side: SideConnection | null = null
  #state: FeedState = 'stopped'
  #hasStreamed = false
  #stopping = new AbortController()
  #running: Promise<void> = Promise.resolve()

  constructor(options: FeedOptions) {
    this.#options = options
  }

  watch(tables: readonly WatchedTable[]): void {
    this.#watched = tables
  }

  async start(sink: (batch: ChangeBatch) => Promise<void>, { from, standby = false }: FeedStart = {}): Promise<void> {
    if (this.#state !== 'stopped') throw new CrossfadeError('invalid_options', 'The feed is started already.')
    this.#sink = sink
    this.#standby = standby
    this.#hasStreamed = false
    this.#stopping = new AbortController()
    if (from !== undefined) Object.assign(this.#progress, { position: from, continues: true })
    this.#become('starting')
    await new Promise<void>((resolve, reject) => {
      this.#running = this.#run({ resolve, reject })
    })
  }

  async stop(): Promise<void> {
    this.#become('stopped')
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

  onState(listener: (state: FeedState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #become(state: FeedState): void {
    // Work that is still under way when the feed is stopped must not restart it.
    if (this.#state === state || (this.#stopping.signal.aborted && state !== 'stopped')) return
    this.#state = state
    for (const listener of this.#listeners) listener(state)
  }

  /** Opens one session after the other until stopped. A failure before `start` has resolved rejects it; later ones are retried. */
  async #run(starting: Starting): Promise<void> {
    const { signal } = this.#stopping
    let isStarted = false
    const started = (): void => {
      isStarted = true
      starting.resolve()
    }
    for (let failures = 0; !signal.aborted;) {
      try {
        const session = await this.#open(started)
        started()
        failures = await this.#untilEnded(session, failures)
      } catch (error) {
        const explained = explainError(error, this.#options)
        if (signal.aborted) break
        if (!isStarted || isHopeless(explained)) {
          this.#problem('connection', isStarted ? explained.message : null)
          this.#become('stopped')
          starting.reject(explained)
          return
        }
        this.#become('reconnecting')
        this.#problem('connection', explained.message)
        failures += 1
      }
      if (!signal.aborted) await this.#backOff(failures)
    }
    starting.reject(new CrossfadeError('feed_stopped', 'The feed was stopped while it started.'))
  }

  /** @returns how many sessions in a row have failed. */
  async #untilEnded(session: StreamSession, failures: number): Promise<number> {
    const openedAt = performance.now()
    const reason = await session.ended
    if (this.#stopping.signal.aborted) return 0
    this.#become('reconnecting')
    this.#problem('connection', `The replication stream ended and is opened again: ${reason.message}`)
    await this.#release()
    return performance.now() - openedAt > healthyAfterMs ? 0 : failures + 1
  }

  async #backOff(failures: number): Promise<void> {
    const capMs = Math.min(retryCapMs, firstRetryMs * 2 ** failures)
    await pause(Math.random() * capMs, undefined, { signal: this.#stopping.signal }).catch(() => {})
  }

  /** @param started called when the feed stands by. */
  async #open(started: () => void): Promise<StreamSession> {
    const { connectionString, slot } = this.#options
    const { signal } = this.#stopping
    const side = await SideConnection.open({ connectionString, slot, stopping: signal })
    this.#side = side
    try {
      signal.throwIfAborted()
      const setup = await this.#setUp(side, started)
      signal.throwIfAborted()
      this.#judge(setup)
      const session = await StreamSession.open(this.#options, {
        side,
        watched: this.#watched,
        tables: setup.tables,
        confirmed: setup.slot.confirmed,
        progress: this.#progress,
        stopping: signal,
        sink: (batch) => this.#sink(batch),
        problem: (name, message) => this.#problem(name, message),
      })
      this.#session = session
      await releaseSlot(side.client, slot)
      signal.throwIfAborted()
      this.#hasStreamed = true
      this.#problem('connection', null)
      this.#become('streaming')
      return session
    } catch (error) {
      await this.#release(signal.aborted ? stopGraceMs : undefined)
      throw error
    }
  }

  #setUp(side: SideConnection, started: () => void): Promise<SetupResult> {
    const { slot, publication, logger, slotWaitMs } = this.#options
    const onTable = (name: string, error: CrossfadeError | null): void =>
      this.#problem(`table ${name}`, error?.message ?? null)
    return setUp(side.client, {
      slot,
      publication,
      tables: this.#watched,
      logger,
      // A table that becomes faulty does not end the stream of the others.
      onTable: this.#hasStreamed ? onTable : null,
      standby: this.#standby,
      waitMs: slotWaitMs,
      stopping: this.#stopping.signal,
      onHeld: (holder) => {
        if (!this.#standby) return
        logger.info(`Another process follows the replication slot "${slot}" (${holder}); this one stands by.`)
        this.#problem('connection', null)
        this.#become('standby')
        started()
      },
    })
  }

  /**
   * Checks that this is the stream that was read before.
   *
   * @throws CrossfadeError `feed_slot_lost`
   */
  #judge({ source, slot, added }: SetupResult): void {
    const progress = this.#progress
    const reason = lossOf(progress, { source, slot, added: this.#hasStreamed ? added : [] })
    Object.assign(progress, { source, continues: true })
    if (reason === null) return
    if (this.#options.onLostSlot === 'fail') {
      throw new CrossfadeError(
        'feed_slot_lost',
        `Changes were lost: ${reason}. Read everything again, and start the feed without a position.`,
      )
    }
    this.#options.logger.warn(`Changes were lost: ${reason}; all topics are told.`)
    recordGap(progress, reason)
  }

  async #release(graceMs?: number): Promise<void> {
    const session = this.#session
    const side = this.#side
    this.#session = null
    this.#side = null
    // First: a query that the database never answers must not keep the session from closing.
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

/** No further attempt can help: what was lost stays lost. */
const isHopeless = (error: CrossfadeError): boolean => error.code === 'feed_slot_lost'
