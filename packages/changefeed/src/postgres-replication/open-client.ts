import type { Client, ClientConfig } from 'pg'
import { loadPg } from './load-pg.ts'

/** The settings under which column values are written as text. */
const settings = '-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=3'

/** How long the database may take to answer, ms. */
export const answerMs = 10_000

/** The parts of pg's connection that a replication stream uses. */
export interface RawConnection {
  on(event: 'copyData', listener: (message: { chunk: Buffer }) => void): void
  once(event: 'replicationStart', listener: () => void): void
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
  end(): void
  readonly stream: { pause(): void; resume(): void; destroy(): void }
}

/** pg's own connection, which its types do not show. */
export const rawConnection = (client: Client): RawConnection =>
  (client as unknown as { connection: RawConnection }).connection

/** What a connection is opened with. */
export interface Opening {
  readonly connectionString: string
  /** Names the connection in pg_stat_activity. */
  readonly slot: string
  /** Gives up the attempt, even if the database hangs. */
  readonly stopping: AbortSignal
}

/** Connects, or fails within {@link answerMs}. */
export async function openClient(
  { connectionString, slot, stopping }: Opening,
  extra: ClientConfig & { replication?: 'database' } = {},
): Promise<Client> {
  const pg = await loadPg()
  stopping.throwIfAborted()
  const client = new pg.Client({
    connectionString,
    options: settings,
    application_name: `crossfade ${slot}`,
    keepAlive: true,
    keepAliveInitialDelayMillis: answerMs,
    connectionTimeoutMillis: answerMs,
    ...extra,
  })
  // An error event without a listener would end the process.
  client.on('error', () => {})
  const giveUp = (): void => rawConnection(client).stream.destroy()
  stopping.addEventListener('abort', giveUp, { once: true })
  try {
    await client.connect()
  } finally {
    stopping.removeEventListener('abort', giveUp)
  }
  return client
}
