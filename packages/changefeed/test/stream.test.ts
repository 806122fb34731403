import { runInNewContext } from 'node:vm'
import { setFlagsFromString } from 'node:v8'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { unsent } from '../src/index.ts'
import { feedBench, Inbox, things } from './feed-bench.ts'

describe('what the PostgreSQL feed emits', () => {
  it('is each transaction in commit order with its rows (C1)', async () => {
    await using bench = await feedBench()
    const { inbox } = await bench.started()
    await bench.query(`INSERT INTO things VALUES (1, 1, 'a'), (2, 1, NULL)`)
    await bench.query('UPDATE things SET version = 2 WHERE id = 1')
    await bench.query('DELETE FROM things WHERE id = 2')
    await bench.query('TRUNCATE things')
    await inbox.until(({ batches }) => batches.length === 4)
    const table = 'public.things'
    expect(inbox.batches.map((batch) => batch.changes)).toEqual([
      [
        { table, op: 'insert', before: null, after: { id: 1, version: 1, note: 'a' } },
        { table, op: 'insert', before: null, after: { id: 2, version: 1, note: null } },
      ],
      [{ table, op: 'update', before: null, after: { id: 1, version: 2, note: 'a' } }],
      [{ table, op: 'delete', before: { id: 2, version: unsent, note: unsent }, after: null }],
      [{ table, op: 'truncate', before: null, after: null }],
    ])
    const positions = inbox.batches.map((batch) => batch.position)
    expect(positions).toEqual([...new Set(positions)].toSorted())
    expect(positions[0]).toMatch(/^[0-9a-f]{16}$/)
  })

  it('is in the order of commits, not of ids or begins (C1)', async () => {
    await using bench = await feedBench()
    const { inbox } = await bench.started()
    const early = new pg.Client(bench.database.url)
    await early.connect()
    await early.query('BEGIN; INSERT INTO things VALUES (1)')
    await bench.query('INSERT INTO things VALUES (2)')
    await early.query('COMMIT')
    await early.end()
    await inbox.untilId(1)
    expect(inbox.values('id')).toEqual([2, 1])
  })

  it('holds the old row, whole with REPLICA IDENTITY FULL, else the old key when it moves', async () => {
    await using bench = await feedBench()
    const { inbox } = await bench.started()
    await bench.query(`INSERT INTO things VALUES (1, 1, 'a')`)
    await bench.query('UPDATE things SET id = 2')
    await bench.query('ALTER TABLE things REPLICA IDENTITY FULL')
    await bench.query('UPDATE things SET version = 5')
    await bench.query('DELETE FROM things')
    await inbox.until(({ batches }) => batches.length === 4)
    expect(inbox.changes.slice(1).map(({ before, after }) => [before, after])).toEqual([
      [
        { id: 1, version: unsent, note: unsent },
        { id: 2, version: 1, note: 'a' },
      ],
      [
        { id: 2, version: 1, note: 'a' },
        { id: 2, version: 5, note: 'a' },
      ],
      [{ id: 2, version: 5, note: 'a' }, null],
    ])
  })

  it('says that an unchanged TOAST value was not sent, and completes it from a whole old row (C7)', async () => {
    await using bench = await feedBench()
    await bench.query(`ALTER TABLE things ALTER note SET STORAGE EXTERNAL`)
    await bench.query(`INSERT INTO things VALUES (1, 1, repeat('x', 10000))`)
    const { inbox } = await bench.started()
    await bench.query('UPDATE things SET version = 2')
    await bench.query('ALTER TABLE things REPLICA IDENTITY FULL')
    await bench.query('UPDATE things SET version = 3')
    await inbox.until(({ batches }) => batches.length === 2)
    expect(inbox.values('note')).toEqual([unsent, 'x'.repeat(10_000)])
    expect(inbox.changes[1]?.before).toMatchObject({ version: 2, note: 'x'.repeat(10_000) })
  })

  it('leaves out what was rolled back, also to a savepoint', async () => {
    await using bench = await feedBench()
    const { inbox } = await bench.started()
    await bench.query(`BEGIN; INSERT INTO things VALUES (1); ROLLBACK`)
    await bench.query(
      `BEGIN; INSERT INTO things VALUES (2); SAVEPOINT s; INSERT INTO things VALUES (3); ROLLBACK TO s; INSERT INTO things VALUES (4); COMMIT`,
    )
    await bench.query(`INSERT INTO things VALUES (5)`)
    await inbox.untilId(5)
    expect(inbox.batches.map((batch) => batch.changes.map((change) => change.after?.['id']))).toEqual([[2, 4], [5]])
  })

  it('is decoded by type, without losing a digit', async () => {
    await using bench = await feedBench(`
      CREATE TYPE mood AS ENUM ('good', 'bad');
      CREATE TABLE kinds (id bigint PRIMARY KEY, flag boolean, ratio float8, money numeric(30, 10), at timestamptz, local timestamp,
        day date, doc jsonb, bits bytea, name varchar, mood mood, list integer[], names text[], flags boolean[][], moods mood[], uid uuid)`)
    const columns = 'id flag ratio money at local day doc bits name mood list names flags moods uid'.split(' ')
    const { inbox } = await bench.started({}, [{ schema: 'public', name: 'kinds', columns, routing: ['id'] }])
    await bench.query(`INSERT INTO kinds VALUES (9007199254740993, true, 0.1, 12345678901234567890.0123456789,
      '2026-11-21 05:30:00.123456+02', '2026-11-21 05:30:00', '2026-11-21', '{"a":[1,null]}', '\\x00ff', 'Zoë', 'bad', '{1,NULL,3}',
      '{"a,b","c\\"d",NULL,"NULL"}', '{{t,f},{f,t}}', '{good,bad}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')`)
    await inbox.until(({ batches }) => batches.length === 1)
    expect(inbox.changes[0]?.after).toEqual({
      id: '9007199254740993',
      flag: true,
      ratio: 0.1,
      money: '12345678901234567890.0123456789',
      at: '2026-11-21 03:30:00.123456+00',
      local: '2026-11-21 05:30:00',
      day: '2026-11-21',
      doc: { a: [1, null] },
      bits: Buffer.from([0, 255]),
      name: 'Zoë',
      mood: 'bad',
      list: [1, null, 3],
      names: ['a,b', 'c"d', null, 'NULL'],
      flags: [
        [true, false],
        [false, true],
      ],
      moods: '{good,bad}',
      uid: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    })
  })

  it('names a partitioned table by its root, also for a partition attached later (C8)', async () => {
    await using bench = await feedBench(`
      CREATE TABLE things (id integer, version integer, note text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
      CREATE TABLE things_low PARTITION OF things FOR VALUES FROM (0) TO (100)`)
    const { inbox } = await bench.started()
    await bench.query(`INSERT INTO things VALUES (1)`)
    await bench.query(`CREATE TABLE things_high PARTITION OF things FOR VALUES FROM (100) TO (200)`)
    await bench.query(`INSERT INTO things VALUES (101)`)
    await bench.query(`UPDATE things SET id = 102 WHERE id = 1`)
    await inbox.untilId(102)
    expect(inbox.changes.map(({ table, op }) => `${op} ${table}`)).toEqual([
      'insert public.things',
      'insert public.things',
      'delete public.things',
      'insert public.things',
    ])
  })

  it('comes in parts of one position when a transaction is very large (C6)', async () => {
    await using bench = await feedBench()
    const { inbox } = await bench.started({ maxTransactionChanges: 1000 })
    await bench.query('INSERT INTO things SELECT n FROM generate_series(1, 3000) AS n')
    await bench.query('INSERT INTO things VALUES (0)')
    await inbox.untilId(0)
    expect(inbox.batches.map(({ part, changes }) => [part, changes.length])).toEqual([
      [{ index: 0, last: false }, 1000],
      [{ index: 1, last: false }, 1000],
      [{ index: 2, last: false }, 1000],
      [{ index: 3, last: true }, 0],
      [undefined, 1],
    ])
    expect(new Set(inbox.batches.map((batch) => batch.position)).size).toBe(2)
    expect(inbox.values('id').slice(0, -1)).toEqual(Array.from({ length: 3000 }, (_, n) => n + 1))
  })

  it('waits in the database, not in memory, while the sink is busy (C6, C11)', async () => {
    await using bench = await feedBench()
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    let release: () => void = () => {}
    const gate = new Promise<void>((done) => (release = done))
    const inbox = new Inbox()
    let seen = 0
    const feed = bench.feed({ maxBufferedBytes: 1_000_000, maxTransactionChanges: 1000 })
    await feed.start(async (batch) => {
      await gate
      seen += batch.changes.length
      if (batch.part?.last) await inbox.sink(batch)
    })
    collectGarbage()
    const before = process.memoryUsage().heapUsed
    // As objects these would be some 100 MB.
    await bench.query(`INSERT INTO things SELECT n, 1, repeat('x', 200) FROM generate_series(1, 200000) AS n`)
    await walsenderIsBlocked(bench.query)
    collectGarbage()
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(30_000_000)
    release()
    await inbox.until(({ batches }) => batches.length === 1)
    expect(seen).toBe(200_000)
  })

  it('leaves out tables that nobody watches', async () => {
    await using bench = await feedBench()
    await bench.query('CREATE TABLE others (id integer PRIMARY KEY)')
    await bench.query(`CREATE PUBLICATION wide FOR ALL TABLES WITH (publish_via_partition_root = true)`)
    const { inbox } = await bench.started({ publication: 'wide' }, [things])
    await bench.query('INSERT INTO others VALUES (1)')
    await bench.query('INSERT INTO things VALUES (2)')
    await inbox.untilId(2)
    expect(inbox.changes.map((change) => change.table)).toEqual(['public.things'])
  })
})

/** Blocked for good: a server whose client keeps reading, however slowly, makes progress between two checks. */
async function walsenderIsBlocked(query: (text: string) => Promise<Record<string, unknown>[]>): Promise<void> {
  const sql = `SELECT sent_lsn::text AS sent FROM pg_stat_replication JOIN pg_stat_activity USING (pid)
    WHERE datname = current_database() AND wait_event = 'WalSenderWriteData'`
  const seen: unknown[] = []
  const sameForLong = async (): Promise<boolean> => {
    const [row] = await query(sql)
    seen.push(row?.['sent'])
    return row !== undefined && seen.length > 20 && new Set(seen.slice(-20)).size === 1
  }
  await expect.poll(sameForLong, { timeout: 30_000, interval: 50 }).toBe(true)
}
