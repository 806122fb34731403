import { setTimeout as pause } from 'node:timers/promises'
import type { Client } from 'pg'
import type { Lsn } from './lsn.ts'
import { answerMs, openClient, rawConnection, type Opening, type RawConnection } from './open-client.ts'

/** What arrives on the stream. */
export interface ReplicationListener {
  /** One pgoutput message. The bytes are valid during the call only. */
  message(bytes: Buffer): void
  /** The server is alive and has sent everything up to here. */
  keepalive(walEnd: Lsn, replyWanted: boolean): void
}

/** Milliseconds from 1970 to 2000, where PostgreSQL's clock begins. */
const postgresEpochMs = 946_684_800_000n
const closeMs = 500

/** A connection in replication mode: START_REPLICATION, and the standby's status back (PostgreSQL manual, "Streaming Replication Protocol"). */
export class ReplicationConnection {
  readonly #client: Client
  readonly #raw: RawConnection
  /** Resolves with the reason when the stream ends, however it ends. */
  readonly ended: Promise<Error>

  private constructor(client: Client, listener: ReplicationListener) {
    this.#client = client
    this.#raw = rawConnection(client)
    this.#raw.on('copyData', ({ chunk }) => dispatch(chunk, listener))
    this.ended = new Promise((resolve) => {
      client.once('error', resolve)
      client.once('end', () => resolve(new Error('the replication connection was closed')))
    })
  }

  /**
   * Connects and starts streaming from the slot's position.
   *
   * @throws the error of PostgreSQL, such as code 55006 when another process has the slot.
   */
  static async open(
    opening: Opening & { readonly publication: string },
    listener: ReplicationListener,
  ): Promise<ReplicationConnection> {
    const client = await openClient(opening, { replication: 'database' })
    const connection = new ReplicationConnection(client, listener)
    try {
      await connection.#start(opening)
    } catch (error) {
      rawConnection(client).end()
      throw error
    }
    return connection
  }

  /** Tells the server up to where everything has been handled: it keeps what comes after. 0 is a sign of life without progress. */
  acknowledge(lsn: Lsn): void {
    const status = Buffer.allocUnsafe(34)
    status[0] = 0x72
    status.writeBigUInt64BE(lsn, 1)
    status.writeBigUInt64BE(lsn, 9)
    status.writeBigUInt64BE(lsn, 17)
    status.writeBigInt64BE((BigInt(Date.now()) - postgresEpochMs) * 1000n, 25)
    status[33] = 0
    this.#raw.sendCopyFromChunk(status)
  }

  /** Stops reading from the socket, so that the server waits. */
  pause(): void {
    this.#raw.stream.pause()
  }

  resume(): void {
    this.#raw.stream.resume()
  }

  /** Ends after what was sent has gone out: the last acknowledgement arrives, and the slot is free for the next. */
  async close(): Promise<void> {
    this.#raw.endCopyFrom()
    this.#raw.end()
    // A paused socket would never see the end.
    this.#raw.stream.resume()
    await Promise.race([this.ended, pause(closeMs, undefined, { ref: false })])
    this.#raw.stream.destroy()
  }

  async #start({ slot, publication, stopping }: Opening & { readonly publication: string }): Promise<void> {
    const started = new Promise<void>((resolve) => this.#raw.once('replicationStart', resolve))
    const names = `'"${publication.replaceAll('"', '""').replaceAll(`'`, `''`)}"'`
    const command = `START_REPLICATION SLOT "${slot}" LOGICAL 0/0 (proto_version '1', publication_names ${names}, messages 'true')`
    // The command is over when the stream is; with an error, the error tells why, and then the connection closes.
    const refused = this.#client.query(command).then(() => {
      throw new Error('the server ended the replication stream')
    })
    refused.catch((error: Error) => this.#client.emit('error', error))
    const answered = new AbortController()
    const silent = pause(answerMs, undefined, { signal: AbortSignal.any([answered.signal, stopping]) }).then(() => {
      throw new Error(`the server did not start the replication stream within ${answerMs} ms`)
    })
    try {
      await Promise.race([started, refused, silent])
    } finally {
      answered.abort()
    }
  }
}

function dispatch(chunk: Buffer, listener: ReplicationListener): void {
  const tag = chunk[0]
  if (tag === 0x77) listener.message(chunk.subarray(25))
  else if (tag === 0x6b) listener.keepalive(chunk.readBigUInt64BE(1), chunk[17] === 1)
}
