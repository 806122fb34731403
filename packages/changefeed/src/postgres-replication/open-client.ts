import type { Client, ClientConfig } from 'pg'
import { loadPg } from './load-pg.ts'

/** The settings under which column values are written as text. */
const settings = '-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=3'

const connectMs = 10_000

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

/** Connects; `slot` names the connection in pg_stat_activity. */
export async function openClient(
  connectionString: string,
  slot: string,
  extra: ClientConfig & { replication?: 'database' } = {},
): Promise<Client> {
  const pg = await loadPg()
  const client = new pg.Client({
    connectionString,
    options: settings,
    application_name: `crossfade ${slot}`,
    keepAlive: true,
    connectionTimeoutMillis: connectMs,
    ...extra,
  })
  // An error event that nobody hears would end the process.
  client.on('error', () => {})
  await client.connect()
  return client
}
