import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@crossfade/testkit/embedded-postgres'

const flags = [
  '-c',
  'wal_level=logical',
  '-c',
  'max_wal_senders=10',
  '-c',
  'max_replication_slots=10',
  '-c',
  'max_slot_wal_keep_size=512MB',
]

/** Starts the demo's own PostgreSQL on its data folder, on the port it had before where that is free. */
export async function startPostgres(folder: string): Promise<EmbeddedPostgres> {
  mkdirSync(folder, { recursive: true })
  const memory = join(folder, 'port')
  const known = existsSync(memory) ? Number(readFileSync(memory, 'utf8')) : 0
  const postgres = await start(folder, known)
  writeFileSync(memory, String(postgres.port))
  return postgres
}

async function start(folder: string, port: number): Promise<EmbeddedPostgres> {
  const dataFolder = join(folder, 'postgres')
  try {
    return await startEmbeddedPostgres({ dataFolder, port, flags })
  } catch (error) {
    // Somebody else may have the port by now.
    if (port === 0 || !String(error).includes('in use')) throw error
    return startEmbeddedPostgres({ dataFolder, flags })
  }
}
