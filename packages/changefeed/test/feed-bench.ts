import type { ChangeBatch, ChangeFeed, RowChange, WatchedTable } from '../src/index.ts'
import { postgresReplication, type PostgresReplicationOptions } from '../src/postgres-replication.ts'
import { freshDatabase, type TestDatabase } from '../../../test/database.ts'

/** The table of most tests. */
export const things: WatchedTable = {
  schema: 'public',
  name: 'things',
  columns: ['id', 'version', 'note'],
  routing: ['id'],
}

const thingsSql = 'CREATE TABLE things (id integer PRIMARY KEY, version integer NOT NULL DEFAULT 1, note text)'

/** What a feed has emitted. */
export class Inbox {
  readonly batches: ChangeBatch[] = []
  #waiting: { isMet: () => boolean; done: () => void }[] = []

  readonly sink = (batch: ChangeBatch): Promise<void> => {
    this.batches.push(batch)
    this.#waiting = this.#waiting.filter(({ isMet, done }) => {
      if (isMet()) done()
      return !isMet()
    })
    return Promise.resolve()
  }

  get changes(): RowChange[] {
    return this.batches.flatMap((batch) => batch.changes)
  }

  /** The new rows, one column of each. */
  values(column: string): unknown[] {
    return this.changes.map((change) => (change.after ?? change.before)?.[column])
  }

  /** Resolves when what was emitted meets the condition. */
  until(isMet: (inbox: Inbox) => boolean): Promise<void> {
    const met = (): boolean => isMet(this)
    if (met()) return Promise.resolve()
    return new Promise((done) => this.#waiting.push({ isMet: met, done }))
  }

  /** Resolves when a row with this id has come. */
  async untilId(id: number): Promise<void> {
    await this.until(() => this.changes.some(({ after, before }) => (after ?? before)?.['id'] === id))
  }
}

/** A separate database with feeds on it. */
export interface Bench extends AsyncDisposable {
  readonly database: TestDatabase
  /** Slots are named for the whole server. */
  readonly slot: string
  /** What the feeds logged. */
  readonly logged: string[]
  query: TestDatabase['query']
  /** A feed that is not started. */
  feed(options?: Partial<PostgresReplicationOptions>, tables?: readonly WatchedTable[]): ChangeFeed
  /** A started feed. */
  started(
    options?: Partial<PostgresReplicationOptions>,
    tables?: readonly WatchedTable[],
  ): Promise<{ feed: ChangeFeed; inbox: Inbox }>
  /** Cuts the connections that the feeds have. @param kind of which kind. */
  cut(kind: 'walsender' | 'client backend'): Promise<void>
}

/** @param sql what to create. */
export async function feedBench(sql: string = thingsSql): Promise<Bench> {
  const database = await freshDatabase()
  await database.query(sql)
  const slot = `s_${new URL(database.url).pathname.slice(6)}`
  const feeds: ChangeFeed[] = []
  const logged: string[] = []
  const log = (message: string): void => void logged.push(message)
  const feed: Bench['feed'] = (options = {}, tables = [things]) => {
    const logger = { info: log, warn: log, error: log }
    const made = postgresReplication({ connectionString: database.url, slot, logger, ...options })
    made.watch?.(tables)
    feeds.push(made)
    return made
  }
  return {
    database,
    slot,
    logged,
    query: (text, values) => database.query(text, values),
    feed,
    async started(options, tables) {
      const inbox = new Inbox()
      const made = feed(options, tables)
      await made.start(inbox.sink)
      return { feed: made, inbox }
    },
    async cut(kind) {
      await database.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name LIKE 'crossfade %' AND backend_type = $1 AND datname = current_database()`,
        [kind],
      )
    },
    async [Symbol.asyncDispose]() {
      for (const one of feeds) await one.stop()
      await database.drop()
    },
  }
}
