import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { inject } from 'vitest'
import './postgres.ts'

/** A database of one test file. */
export interface FreshDatabase {
  readonly url: string
  /** Runs SQL and gives the rows. */
  query(sql: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>
  /** Removes the database with its replication slots; connections to it are cut. */
  drop(): Promise<void>
}

/** Makes an empty database in the PostgreSQL that the integration tests share. */
export async function freshDatabase(): Promise<FreshDatabase> {
  const server = inject('postgresUrl')
  const name = `test_${randomBytes(6).toString('hex')}`
  await once(server, `CREATE DATABASE ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  const pool = new pg.Pool({ connectionString: url.href, max: 4 })
  // Some tests cut every connection.
  pool.on('error', () => {})
  return {
    url: url.href,
    query: async (sql, values = []) => (await pool.query<Record<string, unknown>>(sql, [...values])).rows,
    async drop() {
      await pool.end()
      await dropSlots(server, name)
      await once(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    },
  }
}

/** A slot keeps its database from being dropped; a slot in use ends first. */
async function dropSlots(server: string, database: string): Promise<void> {
  const client = new pg.Client(server)
  await client.connect()
  try {
    for (let attempt = 0; attempt < 50; attempt += 1) {
      await client.query(
        'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = $1 AND active',
        [database],
      )
      const left = await client.query('SELECT slot_name FROM pg_replication_slots WHERE database = $1 AND active', [
        database,
      ])
      if (left.rowCount === 0) break
    }
    await client.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1', [
      database,
    ])
  } finally {
    await client.end()
  }
}

async function once(url: string, sql: string): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
