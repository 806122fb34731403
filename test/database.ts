import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { inject } from 'vitest'

/** A database of one test's own. */
export interface TestDatabase {
  readonly url: string
  query<T extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<T[]>
  /** Ends everything on it, its replication slots too, and removes it. */
  drop(): Promise<void>
}

/** Creates an empty database on the PostgreSQL of the test run. */
export async function freshDatabase(): Promise<TestDatabase> {
  const server = inject('postgresUrl')
  const name = `test_${randomBytes(6).toString('hex')}`
  await asAdmin(server, (admin) => admin.query(`CREATE DATABASE ${name}`))
  const url = new URL(server)
  url.pathname = `/${name}`
  const pool = new pg.Pool({ connectionString: url.href, max: 8 })
  pool.on('error', () => {})
  return {
    url: url.href,
    async query<T extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<T[]> {
      return (await pool.query<T>(text, values)).rows
    },
    async drop() {
      await pool.end()
      await asAdmin(server, async (admin) => {
        await admin.query(
          `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = $1 AND active`,
          [name],
        )
        for (let attempt = 0; attempt < 50; attempt++) {
          const { rows } = await admin.query<{ slot_name: string; active: boolean }>(
            `SELECT slot_name, active FROM pg_replication_slots WHERE database = $1`,
            [name],
          )
          if (rows.length === 0) break
          for (const slot of rows.filter((row) => !row.active))
            await admin.query('SELECT pg_drop_replication_slot($1)', [slot.slot_name])
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
        await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
      })
    },
  }
}

async function asAdmin(url: string, work: (admin: pg.Client) => Promise<unknown>): Promise<void> {
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  try {
    await work(admin)
  } finally {
    await admin.end()
  }
}
