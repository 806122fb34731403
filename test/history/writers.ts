import type { Random } from '@crossfade/testkit'
import pg from 'pg'

/** What the writers committed. */
export interface Written {
  readonly finalVersions: Map<string, number>
  readonly committed: Map<string, number[]>
}

/** Commits changes of items and entries of logs from several connections at once, with transactions of mixed length and rollbacks. */
export class Writers {
  readonly #pool: pg.Pool
  readonly #random: Random
  readonly #items: readonly number[]
  readonly #logs: readonly string[]
  /** How many changes are committed. */
  committed = 0

  constructor(databaseUrl: string, random: Random, items: readonly number[], logs: readonly string[]) {
    this.#pool = new pg.Pool({ connectionString: databaseUrl, max: 6 })
    this.#random = random
    this.#items = items
    this.#logs = logs
  }

  async prepare(): Promise<void> {
    for (const id of this.#items) await this.#pool.query('INSERT INTO items VALUES ($1, 1)', [id])
    for (const log of this.#logs) await this.#pool.query('INSERT INTO logs VALUES ($1, 0)', [log])
  }

  /** Writes until this many changes are committed, or it is told to stop, by `writers` connections at once. */
  async run(total: number, writers: number, pauseMs: () => number, isOver = (): boolean => false): Promise<void> {
    await Promise.all(
      Array.from({ length: writers }, async () => {
        while (this.committed < total && !isOver()) {
          await this.#transaction()
          await new Promise((resolve) => setTimeout(resolve, pauseMs()))
        }
      }),
    )
  }

  async outcome(): Promise<Written> {
    const versions = await this.#pool.query<{ id: number; version: number }>('SELECT id, version FROM items')
    const ids = await this.#pool.query<{ log: string; n: number }>('SELECT log, n FROM entries ORDER BY n')
    const committed = new Map<string, number[]>(this.#logs.map((log) => [`logs/${log}`, []]))
    for (const { log, n } of ids.rows) committed.get(`logs/${log}`)?.push(n)
    return { finalVersions: new Map(versions.rows.map((row) => [`items/${row.id}`, row.version])), committed }
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }

  async #transaction(): Promise<void> {
    const client = await this.#pool.connect()
    const random = this.#random
    const statements = 1 + random.below(3)
    try {
      await client.query('BEGIN')
      // In one order of locks, so that writers do not deadlock.
      const ids = new Set(Array.from({ length: statements }, () => random.pick(this.#items)))
      for (const id of [...ids].toSorted((a, b) => a - b))
        await client.query('UPDATE items SET version = version + 1 WHERE id = $1', [id])
      const log = random.pick(this.#logs)
      await client.query(
        'WITH next AS (UPDATE logs SET n = n + 1 WHERE log = $1 RETURNING n) INSERT INTO entries (log, n) SELECT $1, n FROM next',
        [log],
      )
      if (random.below(20) === 0) {
        await client.query('ROLLBACK')
        return
      }
      await client.query('COMMIT')
      this.committed += ids.size + 1
    } finally {
      client.release()
    }
  }
}
