import { startEmbeddedPostgres } from '@crossfade/testkit/embedded-postgres'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { postgresReplication } from '../src/postgres-replication.ts'
import { feedBench, Inbox, things } from './feed-bench.ts'

const keys = [1, 2, 3, 4]
const writers = 8
const roundsPerWriter = 500

describe('a change of the PostgreSQL feed', () => {
  it('is visible to a read begun when it arrives, and each version of a row comes once and in order (C1, C9)', async () => {
    await using bench = await feedBench()
    for (const id of keys) await bench.query('INSERT INTO things VALUES ($1, 0)', [id])
    const reader = new pg.Client(bench.database.url)
    await reader.connect()
    const inbox = new Inbox()
    let stale = 0
    await bench.feed().start(async (batch) => {
      for (const { after } of batch.changes) {
        const { rows } = await reader.query<{ version: number }>('SELECT version FROM things WHERE id = $1', [
          after?.['id'],
        ])
        if ((rows[0]?.version ?? 0) < Number(after?.['version'])) stale += 1
      }
      await inbox.sink(batch)
    })
    await Promise.all(Array.from({ length: writers }, (_, writer) => write(bench.database.url, writer)))
    await inbox.until(({ batches }) => batches.length === writers * roundsPerWriter)
    await reader.end()
    expect(stale).toBe(0)
    for (const id of keys) {
      const versions = inbox.changes.filter(({ after }) => after?.['id'] === id).map(({ after }) => after?.['version'])
      expect(versions).toEqual(versions.map((_, n) => n + 1))
    }
  })

  it('is held while its transaction is in the log but not visible (C9)', async () => {
    // A commit that waits for a standby which does not exist is in the log, and nobody sees it.
    const flags = { wal_level: 'logical', synchronous_standby_names: 'nobody', synchronous_commit: 'local' }
    const postgres = await startEmbeddedPostgres({
      flags: Object.entries(flags).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    })
    const [writer, other] = [new pg.Client(postgres.url), new pg.Client(postgres.url)]
    await Promise.all([writer.connect(), other.connect()])
    await other.query('CREATE TABLE things (id integer PRIMARY KEY, version integer, note text)')
    const feed = postgresReplication({ connectionString: postgres.url, slot: 'held' })
    const inbox = new Inbox()
    feed.watch?.([things])
    await feed.start(inbox.sink)
    const { rows } = await writer.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    await writer.query('SET synchronous_commit = on')
    const waiting = writer.query('INSERT INTO things VALUES (1)')
    await other.query('SELECT 1')
    const sent = `SELECT 1 FROM pg_stat_activity JOIN pg_stat_replication ON true
      WHERE pg_stat_activity.pid = ${rows[0]?.pid} AND wait_event = 'SyncRep' AND sent_lsn >= pg_current_wal_flush_lsn()`
    await expect.poll(async () => (await other.query(sent)).rows.length).toBe(1)
    for (let look = 0; look < 50; look++) {
      expect((await other.query('SELECT * FROM things')).rows).toEqual([])
      expect(inbox.batches).toEqual([])
    }
    await other.query('SELECT pg_cancel_backend($1)', [rows[0]?.pid])
    await waiting
    await inbox.untilId(1)
    await Promise.all([feed.stop(), writer.end(), other.end()])
    await postgres.stop()
  })
})

/** Many writers of few rows: each waits for another's lock, and commits in groups. */
async function write(url: string, writer: number): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  for (let round = 0; round < roundsPerWriter; round++) {
    const id = keys[(writer + round) % keys.length]
    await client.query('UPDATE things SET version = version + 1 WHERE id = $1', [id])
  }
  await client.end()
}
