import type { Client } from 'pg'
import type { Lsn } from './lsn.ts'

/** The parts of pg's own connection that a replication stream uses. */
interface RawConnection {
  on(event: 'copyData', listener: (message: { chunk: Buffer }) => void): void
  once(event: 'replicationStart', listener: () => void): void
  sendCopyFromChunk(chunk: Buffer): void
  readonly stream: { pause(): void; resume(): void; destroy(): void }
}

/** What the stream brings. */
export interface ReplicationListener {
  /** One pgoutput message. */
  message(bytes: Buffer): void
  /** The server is alive and has sent everything up to here. */
  keepalive(walEnd: Lsn, replyWanted: boolean): void
}

/** Milliseconds from 1970 to 2000, where PostgreSQL's clock begins. */
const postgresEpochMs = 946_684_800_000n

/** A connection in replication mode: START_REPLICATION, and the standby's status back (PostgreSQL manual, "Streaming Replication Protocol"). */
export class ReplicationConnection {
  readonly #client: Client
  /** Rejects when the stream ends, however it ends. */
  readonly ended: Promise<never>

  private constructor(client: Client, ended: Promise<never>) {
    this.#client = client
    this.ended = ended
  }

  /**
   * Starts to stream from where the slot stands.
   *
   * @param client connected with `replication: 'database'`.
   */
  static async start(
    client: Client,
    slot: string,
    publication: string,
    listener: ReplicationListener,
  ): Promise<ReplicationConnection> {
    const raw = (client as unknown as { connection: RawConnection }).connection
    const started = new Promise<void>((resolve) => raw.once('replicationStart', resolve))
    raw.on('copyData', ({ chunk }) => dispatch(chunk, listener))
    const names = `'${publication.replaceAll(`'`, `''`).replaceAll('"', '""')}'`
    const query = client.query(
      `START_REPLICATION SLOT "${slot}" LOGICAL 0/0 (proto_version '1', publication_names ${names}, messages 'true')`,
    )
    const ended = Promise.race([
      query.then(() => Promise.reject(new Error('the server ended the replication stream'))),
      new Promise<never>((_, reject) => {
        client.once('error', reject)
        client.once('end', () => reject(new Error('the replication connection was closed')))
      }),
    ])
    ended.catch(() => {})
    await Promise.race([started, ended])
    return new ReplicationConnection(client, ended)
  }

  /** Tells the server up to where everything is handled: it keeps what comes after. */
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

  /** Ends at once: a stream that is being read does not answer a polite farewell. */
  destroy(): void {
    this.#raw.stream.destroy()
  }

  get #raw(): RawConnection {
    return (this.#client as unknown as { connection: RawConnection }).connection
  }
}

function dispatch(chunk: Buffer, listener: ReplicationListener): void {
  const tag = chunk[0]
  if (tag === 0x77) listener.message(chunk.subarray(25))
  else if (tag === 0x6b) listener.keepalive(chunk.readBigUInt64BE(1), chunk[17] === 1)
}
