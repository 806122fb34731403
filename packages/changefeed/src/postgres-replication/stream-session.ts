import { CrossfadeError } from '@crossfade/protocol'
import type { Client } from 'pg'
import type { ChangeBatch, Position } from '../change.ts'
import type { WatchedTable } from '../change-feed.ts'
import { DeliveryQueue, type Delivery } from './delivery.ts'
import type { FeedLogger } from './feed-logger.ts'
import { loadPg } from './load-pg.ts'
import { parseLsn, positionOf, type Lsn } from './lsn.ts'
import { ReplicationConnection } from './replication-connection.ts'
import { RowReader } from './row-reader.ts'
import { setUp } from './setup.ts'
import { TransactionReader } from './transaction-reader.ts'
import { typeDecoder } from './type-decoder.ts'
import { VisibilityGate } from './visibility-gate.ts'

/** The options of the feed with their defaults. */
export interface StreamOptions {
  readonly connectionString: string
  readonly slot: string
  readonly publication: string
  readonly heartbeatMs: number
  readonly visibilityGate: boolean
  readonly maxTransactionChanges: number
  readonly maxBufferedBytes: number
  readonly slotWaitMs: number
  readonly logger: FeedLogger
}

/** What one session of the stream works with. */
export interface SessionPort {
  readonly tables: readonly WatchedTable[]
  /** What is at or before it was handled in an earlier session. */
  readonly position: Position | null
  /** Earlier sessions or a stored position exist: a new slot means a gap. */
  readonly continues: boolean
  sink(batch: ChangeBatch): Promise<void>
  handled(position: Position): void
  failed(error: unknown): void
}

/** How often the server hears that we are alive, ms; it gives up after 60 s by default. */
const statusMs = 5_000
const slotInUse = '55006'

/** The settings under which column values are written as text. */
const settings = '-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=3'

/** One life of the replication connection, with an ordinary connection beside it for set-up, visibility and heartbeats. */
export class StreamSession {
  readonly #options: StreamOptions
  readonly #port: SessionPort
  readonly #side: Client
  readonly #queue: DeliveryQueue
  readonly #reader: TransactionReader
  readonly #timers: NodeJS.Timeout[] = []
  readonly #gate: VisibilityGate
  #stream: ReplicationConnection | null = null
  #acknowledged: Lsn = 0n
  #received: Lsn = 0n
  #heardAt: number = performance.now()
  #isPaused = false
  #isClosed = false
  #fail: (error: Error) => void = () => {}
  /** Rejects when the session is over. */
  readonly ended: Promise<never>

  private constructor(
    options: StreamOptions,
    port: SessionPort,
    side: Client,
    source: string,
    decode: (oid: number, text: string) => unknown,
  ) {
    this.#options = options
    this.#port = port
    this.#side = side
    this.#gate = new VisibilityGate(() => this.#readSnapshot())
    this.#queue = new DeliveryQueue({
      source,
      visible: (xid) => (options.visibilityGate ? this.#gate.pass(xid, () => this.#isClosed) : Promise.resolve()),
      sink: (batch) => port.sink(batch),
      handled: (endLsn, position) => this.#onHandled(endLsn, position),
      failed: (error) => port.failed(error),
      waiting: (bytes) => this.#onWaiting(bytes),
    })
    this.#reader = new TransactionReader(new RowReader(decode), options.maxTransactionChanges, (delivery) =>
      this.#onTransaction(delivery),
    )
    this.ended = new Promise<never>((_, reject) => {
      this.#fail = reject
    })
    this.ended.catch(() => {})
    side.on('error', (error) => this.#fail(error))
  }

  static async open(options: StreamOptions, port: SessionPort): Promise<StreamSession> {
    const pg = await loadPg()
    const side = new pg.Client({ connectionString: options.connectionString, options: settings, keepAlive: true })
    // Until the session listens, a lost connection is told by the query that fails.
    side.on('error', () => {})
    await side.connect()
    try {
      const { slotCreated } = await setUp(side, { ...options, tables: port.tables })
      const source = await sourceOf(side, options.slot)
      const session = new StreamSession(options, port, side, source, typeDecoder(pg))
      if (slotCreated && port.continues) await session.#announceGap(source)
      await session.#start()
      return session
    } catch (error) {
      await side.end().catch(() => {})
      throw error
    }
  }

  /** Bytes of the log that were received and are not acknowledged. */
  get lagBytes(): number {
    return Math.max(0, Number(this.#received - this.#acknowledged))
  }

  get lagMs(): number {
    const { oldestAt } = this.#queue
    return oldestAt === null ? 0 : Math.max(0, Date.now() - oldestAt)
  }

  async sourcePosition(): Promise<Position> {
    const { rows } = await this.#side.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')
    return positionOf(parseLsn(rows[0]?.lsn ?? '0/0'))
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const timer of this.#timers) clearInterval(timer)
    this.#queue.stop()
    // What was handled need not come again: the last status tells it.
    if (this.#stream !== null && this.#acknowledged > 0n) this.#stream.acknowledge(this.#acknowledged)
    await new Promise((resolve) => setImmediate(resolve))
    this.#stream?.destroy()
    await this.#side.end().catch(() => {})
    this.#fail(new Error('the feed was stopped'))
  }

  async #start(): Promise<void> {
    const until = performance.now() + this.#options.slotWaitMs
    for (;;) {
      try {
        this.#stream = await this.#connect()
        break
      } catch (error) {
        if ((error as { code?: string }).code !== slotInUse) throw error
        if (performance.now() > until) throw inUse(this.#options.slot, error)
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    }
    this.#stream.ended.catch((error: Error) => {
      this.#fail(error)
      void this.close()
    })
    this.#heardAt = performance.now()
    this.#timers.push(
      setInterval(() => this.#acknowledge(), statusMs),
      setInterval(() => this.#beat(), this.#options.heartbeatMs),
    )
  }

  async #connect(): Promise<ReplicationConnection> {
    const pg = await loadPg()
    const client = new pg.Client({
      connectionString: this.#options.connectionString,
      replication: 'database',
      options: settings,
      keepAlive: true,
    } as ConstructorParameters<typeof pg.Client>[0])
    client.on('error', () => {})
    await client.connect()
    try {
      return await ReplicationConnection.start(client, this.#options.slot, this.#options.publication, {
        message: (bytes) => this.#onMessage(bytes),
        keepalive: (walEnd, replyWanted) => this.#onKeepalive(walEnd, replyWanted),
      })
    } catch (error) {
      await client.end().catch(() => {})
      throw error
    }
  }

  #onMessage(bytes: Buffer): void {
    if (this.#isClosed) return
    this.#heardAt = performance.now()
    try {
      this.#reader.read(bytes)
    } catch (error) {
      // Never go on with wrong rows: the next session reads the tables' shapes anew.
      this.#fail(error as Error)
      void this.close()
    }
  }

  #onTransaction(delivery: Delivery): void {
    if (delivery.endLsn !== null) this.#received = delivery.endLsn
    const isOld = this.#port.position !== null && positionOf(delivery.commitLsn) <= this.#port.position
    this.#queue.push(isOld ? { ...delivery, changes: [] } : delivery)
  }

  #onHandled(endLsn: Lsn, position: Position): void {
    this.#acknowledged = endLsn
    this.#port.handled(position)
  }

  /** With nothing under way, what the server has sent is handled: other databases' log need not be kept for us. */
  #onKeepalive(walEnd: Lsn, replyWanted: boolean): void {
    this.#heardAt = performance.now()
    if (this.#queue.isIdle && !this.#reader.isInTransaction && walEnd > this.#acknowledged) {
      this.#acknowledged = walEnd
      this.#received = walEnd
    }
    if (replyWanted) this.#acknowledge()
  }

  #acknowledge(): void {
    if (!this.#isClosed) this.#stream?.acknowledge(this.#acknowledged)
  }

  /** Backpressure: what the sink cannot take stays in the socket, and the server waits. */
  #onWaiting(bytes: number): void {
    const { maxBufferedBytes } = this.#options
    if (!this.#isPaused && bytes > maxBufferedBytes) {
      this.#isPaused = true
      this.#stream?.pause()
    } else if (this.#isPaused && bytes < maxBufferedBytes / 2) {
      this.#isPaused = false
      this.#heardAt = performance.now()
      this.#stream?.resume()
    }
  }

  /** A message through the log itself: it shows that changes would arrive, and lets an idle slot advance (C5). */
  #beat(): void {
    if (this.#isClosed || this.#isPaused) return
    if (performance.now() - this.#heardAt > 3 * this.#options.heartbeatMs) {
      this.#fail(new Error(`nothing came through the replication stream for ${3 * this.#options.heartbeatMs} ms`))
      void this.close()
      return
    }
    this.#side
      .query(`SELECT pg_logical_emit_message(false, 'crossfade', '')`)
      .catch((error: Error) => this.#fail(error))
  }

  async #readSnapshot(): Promise<string> {
    const { rows } = await this.#side.query<{ snapshot: string }>('SELECT pg_current_snapshot()::text AS snapshot')
    return rows[0]?.snapshot ?? ''
  }

  async #announceGap(source: string): Promise<void> {
    const position = await this.sourcePosition()
    const reason = `the replication slot "${this.#options.slot}" was lost and made anew`
    this.#options.logger.warn(`${reason}; all topics are told`)
    await this.#port.sink({ source, position, transaction: '', committedAt: Date.now(), changes: [], gap: { reason } })
  }
}

/** A restored or cloned cluster, or a slot of another name, is another source. */
async function sourceOf(client: Client, slot: string): Promise<string> {
  const { rows } = await client.query<{ id: string }>('SELECT system_identifier::text AS id FROM pg_control_system()')
  return `${rows[0]?.id ?? 'unknown'}/${slot}`
}

function inUse(slot: string, cause: unknown): CrossfadeError {
  return new CrossfadeError(
    'feed_slot_in_use',
    `Another process follows the replication slot "${slot}" (${(cause as Error).message}). Two processes with memory brokers would each serve only a part: stop the other, or give this one another slot.`,
    { cause },
  )
}
