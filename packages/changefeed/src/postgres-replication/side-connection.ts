import type { Client } from 'pg'
import { answerMs, openClient, rawConnection, type Opening } from './open-client.ts'
import { parseLsn, type Lsn } from './lsn.ts'

/** What heartbeats are marked with in the log. */
export const heartbeatPrefix = 'crossfade'

const closeMs = 1_000

/** The ordinary connection beside the stream: set-up, visibility, heartbeats. */
export class SideConnection {
  readonly client: Client
  /** Resolves with the reason when the connection is gone. */
  readonly lost: Promise<Error>

  private constructor(client: Client) {
    this.client = client
    this.lost = new Promise((resolve) => {
      client.once('error', resolve)
      client.once('end', () => resolve(new Error('the connection for visibility and heartbeats was closed')))
    })
  }

  /** Connects. From then on a query fails if the database does not answer in time. */
  static async open(opening: Opening): Promise<SideConnection> {
    return new SideConnection(await openClient(opening, { query_timeout: answerMs }))
  }

  /** After how long without a message from us the server ends the stream, ms; 0: never. */
  async serverPatienceMs(): Promise<number> {
    return Number(await this.#value(`SELECT setting AS value FROM pg_settings WHERE name = 'wal_sender_timeout'`))
  }

  async snapshot(): Promise<string> {
    return this.#value('SELECT pg_current_snapshot()::text AS value')
  }

  /** The location of the next record of the log. */
  async logPosition(): Promise<Lsn> {
    return parseLsn(await this.#value('SELECT pg_current_wal_insert_lsn()::text AS value'))
  }

  /** Writes a heartbeat into the log, past any transaction. */
  async beat(content: string): Promise<Lsn> {
    return parseLsn(
      await this.#value(`SELECT pg_logical_emit_message(false, $1, $2)::text AS value`, [heartbeatPrefix, content]),
    )
  }

  /** Ends politely, or immediately when the database does not answer. */
  async close(): Promise<void> {
    const timer = setTimeout(() => rawConnection(this.client).stream.destroy(), closeMs)
    await this.client.end().catch(() => {})
    clearTimeout(timer)
  }

  async #value(text: string, values: unknown[] = []): Promise<string> {
    const { rows } = await this.client.query<{ value: string }>(text, values)
    return rows[0]?.value ?? ''
  }
}
