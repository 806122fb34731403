import { setTimeout as pause } from 'node:timers/promises'
import type { ChangeBatch } from '../change.ts'
import type { WatchedTable } from '../change-feed.ts'
import { Acknowledgement } from './acknowledgement.ts'
import { DeliveryQueue, type Delivery } from './delivery.ts'
import type { FeedOptions } from './feed-options.ts'
import { Heartbeat } from './heartbeat.ts'
import { positionOf, type Lsn } from './lsn.ts'
import { advance, type Progress } from './progress.ts'
import { unpublished } from './publication.ts'
import { ReplicationConnection } from './replication-connection.ts'
import { RowReader } from './row-reader.ts'
import { heartbeatPrefix, type SideConnection } from './side-connection.ts'
import type { TableSet } from './table-set.ts'
import { TransactionReader } from './transaction-reader.ts'
import { VisibilityGate } from './visibility-gate.ts'

/** What one session of the stream works with. */
export interface SessionPort {
  readonly side: SideConnection
  readonly watched: readonly WatchedTable[]
  readonly tables: TableSet
  /** Changed as transactions are handled. */
  readonly progress: Progress
  readonly stopping: AbortSignal
  /** The slot's position: where a gap lies. */
  readonly confirmed: Lsn
  sink(batch: ChangeBatch): Promise<void>
  /** Reports a problem under a name, or with `null` that it is over. */
  problem(name: string, message: string | null): void
}

/** How often the server hears from us while the sink is busy, ms; at least three times within `wal_sender_timeout`. */
const statusMs = 5_000
const statusesWithinPatience = 3
/** How long acknowledgements are collected before one is sent, ms. */
const ackDelayMs = 20

/** One session of the replication connection: stream → transactions → gate → sink → acknowledgement. */
export class StreamSession {
  readonly #options: FeedOptions
  readonly #port: SessionPort
  readonly #queue: DeliveryQueue
  readonly #reader: TransactionReader
  readonly #acknowledgement = new Acknowledgement()
  #status: NodeJS.Timeout | null = null
  readonly #heartbeat: Heartbeat
  #ackTimer: NodeJS.Timeout | null = null
  #stream: ReplicationConnection | null = null
  #isPaused = false
  #end!: (reason: Error) => void
  /** Resolves with the reason when the session is over; it must be closed then. */
  readonly ended: Promise<Error>

  private constructor(options: FeedOptions, port: SessionPort) {
    this.#options = options
    this.#port = port
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
    const gate = new VisibilityGate(() => port.side.snapshot())
    this.#queue = new DeliveryQueue({
      source: port.progress.source ?? '',
      visible: (xid) => (options.visibilityGate ? gate.pass(xid) : Promise.resolve()),
      sink: (batch) => port.sink(batch),
      handled: (delivery) => this.#handled(delivery),
      failed: (error) => port.problem('sink', `The sink failed and gets the same changes again: ${String(error)}`),
      waiting: (bytes) => this.#waiting(bytes),
    })
    const rows = new RowReader(port.tables, (table, absent) => this.#shape(table, absent))
    this.#reader = new TransactionReader(rows, options.maxTransactionChanges, {
      delivery: (delivery) => this.#deliver(delivery),
      message: (prefix, content) => {
        if (prefix === heartbeatPrefix) this.#heartbeat.returned(content)
      },
    })
    this.#heartbeat = new Heartbeat(options.slot, options.heartbeatMs, {
      send: async (content) => {
        await this.#requirePublished()
        return port.side.beat(content)
      },
      reached: (lsn) => this.#acknowledgement.received(lsn),
      isPaused: () => this.#isPaused,
      dead: (reason) => this.#end(reason),
    })
    void port.side.lost.then((reason) => this.#end(reason))
  }

  /** Opens the replication connection and starts to stream. */
  static async open(options: FeedOptions, port: SessionPort): Promise<StreamSession> {
    const session = new StreamSession(options, port)
    try {
      const { gap } = port.progress
      if (gap !== null) session.#announce(gap)
      session.#stream = await session.#connect()
      const patienceMs = await port.side.serverPatienceMs()
      const everyMs = patienceMs === 0 ? statusMs : Math.min(statusMs, patienceMs / statusesWithinPatience)
      session.#status = setInterval(() => session.#acknowledge(), everyMs)
    } catch (error) {
      await session.close()
      throw error
    }
    session.#heartbeat.start()
    void session.#stream.ended.then((reason) => session.#end(reason))
    return session
  }

  get lagBytes(): number {
    return this.#acknowledgement.lagBytes
  }

  /** How long the oldest change has waited here, or how long a heartbeat has been on its way, ms. */
  get lagMs(): number {
    return Math.round(Math.max(this.#queue.waitMs, this.#heartbeat.lagMs))
  }

  /**
   * Ends; resolves when the sink has answered the last batch, so that two sessions never overlap.
   *
   * @param graceMs the longest wait for the sink.
   */
  async close(graceMs?: number): Promise<void> {
    this.#heartbeat.stop()
    this.#stream?.pause()
    const drained = this.#queue.close()
    await (graceMs === undefined ? drained : Promise.race([drained, pause(graceMs)]))
    if (this.#status !== null) clearInterval(this.#status)
    this.#acknowledge()
    await this.#stream?.close()
    this.#stream = null
    this.#end(new Error('the session was closed'))
  }

  #connect(): Promise<ReplicationConnection> {
    const { connectionString, slot, publication } = this.#options
    const { stopping } = this.#port
    return ReplicationConnection.open(
      { connectionString, slot, publication, stopping },
      {
        message: (bytes) => this.#message(bytes),
        keepalive: (walEnd, replyWanted) => this.#keepalive(walEnd, replyWanted),
      },
    )
  }

  #message(bytes: Buffer): void {
    this.#heartbeat.heard()
    try {
      this.#reader.read(bytes)
    } catch (error) {
      // Never continue with wrong rows: the next session reads the tables' shapes again.
      this.#stream?.pause()
      this.#end(error as Error)
    }
  }

  #deliver(delivery: Delivery): void {
    if (delivery.endLsn !== null) this.#acknowledgement.received(delivery.endLsn)
    const { position } = this.#port.progress
    const isHandled = position !== null && positionOf(delivery.commitLsn) <= position
    if (!isHandled) this.#queue.push(delivery)
    // It was handled before; only its acknowledgement is still due.
    else if (delivery.endLsn !== null) this.#queue.push({ ...delivery, changes: [], bytes: 0, part: 0 })
  }

  #announce(gap: string): void {
    const nothing = { xid: 0, changes: [], bytes: 0, part: 0, endLsn: null }
    this.#queue.push({ ...nothing, gap, commitLsn: this.#port.confirmed, committedAt: Date.now() })
  }

  #handled({ endLsn, commitLsn, gap }: Delivery): void {
    const { progress } = this.#port
    this.#port.problem('sink', null)
    if (gap !== undefined) progress.gap = null
    if (endLsn === null) return
    advance(progress, positionOf(commitLsn))
    this.#acknowledgement.handled(endLsn)
    this.#acknowledgeSoon()
  }

  /** With nothing in progress, all that the server has sent is handled: it need not keep the log of other tables for us. */
  #keepalive(walEnd: Lsn, replyWanted: boolean): void {
    this.#heartbeat.heard()
    this.#acknowledgement.received(walEnd)
    if (this.#queue.isIdle && !this.#reader.isInTransaction) {
      this.#acknowledgement.handled(walEnd)
      this.#acknowledgeSoon()
    }
    if (replyWanted) this.#acknowledge()
  }

  #acknowledgeSoon(): void {
    this.#ackTimer ??= setTimeout(() => this.#acknowledge(), ackDelayMs)
  }

  #acknowledge(): void {
    if (this.#ackTimer !== null) clearTimeout(this.#ackTimer)
    this.#ackTimer = null
    const { lsn } = this.#acknowledgement
    if (this.#stream === null) return
    this.#stream.acknowledge(lsn)
    if (lsn > this.#port.progress.acknowledged) this.#port.progress.acknowledged = lsn
  }

  /** Backpressure: what the sink cannot take stays in the socket, and the server waits. */
  #waiting(bytes: number): void {
    const { maxBufferedBytes } = this.#options
    if (!this.#isPaused && bytes > maxBufferedBytes) {
      this.#isPaused = true
      this.#stream?.pause()
    } else if (this.#isPaused && bytes <= maxBufferedBytes / 2) {
      this.#isPaused = false
      this.#stream?.resume()
    }
  }

  #shape(table: string, absent: readonly string[]): void {
    const message =
      absent.length === 0
        ? null
        : `The table ${table} has no column ${absent.join(', ')} any more: its changes now touch every topic of its rules. Correct the Drizzle table.`
    this.#port.problem(`table ${table}`, message)
  }

  /** A table that was dropped and created again, or taken out of the publication, would silently send nothing. The next session repairs that. */
  async #requirePublished(): Promise<void> {
    const { side, watched } = this.#port
    const missing = await unpublished(side.client, this.#options.publication, watched)
    if (missing.length > 0) throw new Error(`the publication lacks ${missing.join(', ')}`)
  }
}
