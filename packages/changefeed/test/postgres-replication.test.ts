import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { changes } from '../src/drizzle.ts'
import { unsent, type ChangeBatch, type ChangeFeed } from '../src/index.ts'
import { postgresReplication, type PostgresReplicationOptions } from '../src/postgres-replication.ts'
import { freshDatabase, type TestDatabase } from '../../../test/database.ts'

const things = pgTable('things', { id: integer().primaryKey(), version: integer().notNull(), note: text() })

let database: TestDatabase
let feeds: ChangeFeed[]
beforeEach(async () => {
  feeds = []
  database = await freshDatabase()
  await database.query('CREATE TABLE things (id integer PRIMARY KEY, version integer NOT NULL, note text)')
})
afterEach(async () => {
  for (const feed of feeds) await feed.stop()
  await database.drop()
})

/** Slots are named for the whole server. */
function slotOf(name: string): string {
  return `${name}_${new URL(database.url).pathname.slice(6)}`
}

function open(options: Partial<PostgresReplicationOptions> = {}): ChangeFeed {
  const feed = postgresReplication({
    connectionString: database.url,
    slot: slotOf('s'),
    logger: { info: () => {}, warn: () => {}, error: () => {} },
    ...options,
  })
  const rule = changes(things, (thing) => ({ id: thing.id }))
  feed.watch?.([rule.table])
  feeds.push(feed)
  return feed
}

async function collect(feed: ChangeFeed, from?: string): Promise<ChangeBatch[]> {
  const batches: ChangeBatch[] = []
  await feed.start((batch) => {
    batches.push(batch)
    return Promise.resolve()
  }, from)
  return batches
}

/** The feed is quick to come back: tries until the slot is gone under it. */
async function dropSlot(): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    await database.query(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1`, [
      slotOf('s'),
    ])
    const dropped = await database.query(`SELECT pg_drop_replication_slot($1)`, [slotOf('s')]).then(
      () => true,
      () => false,
    )
    if (dropped) return
  }
  throw new Error('the slot could not be dropped')
}

describe('the PostgreSQL replication feed', () => {
  it('emits transactions in commit order with their rows (C1)', async () => {
    const batches = await collect(open())
    await database.query(`INSERT INTO things VALUES (1, 1, 'a'), (2, 1, NULL)`)
    await database.query('UPDATE things SET version = 2 WHERE id = 1')
    await database.query('DELETE FROM things WHERE id = 2')
    await database.query('TRUNCATE things')
    await expect.poll(() => batches.length).toBe(4)
    expect(batches.map((batch) => batch.changes.map((change) => [change.op, change.before, change.after]))).toEqual([
      [
        ['insert', null, { id: 1, version: 1, note: 'a' }],
        ['insert', null, { id: 2, version: 1, note: null }],
      ],
      [['update', null, { id: 1, version: 2, note: 'a' }]],
      [['delete', { id: 2, version: unsent, note: unsent }, null]],
      [['truncate', null, null]],
    ])
    expect(batches.map((batch) => batch.position).toSorted()).toEqual(batches.map((batch) => batch.position))
    expect(batches[0]?.changes[0]?.table).toBe('public.things')
  })

  it('says that an unchanged TOAST value was not sent, and completes it from a whole old row (C7)', async () => {
    await database.query(`ALTER TABLE things ALTER note SET STORAGE EXTERNAL`)
    await database.query(`INSERT INTO things VALUES (1, 1, repeat('x', 10000))`)
    const batches = await collect(open())
    await database.query('UPDATE things SET version = 2')
    await expect.poll(() => batches.length).toBe(1)
    expect(batches[0]?.changes[0]?.after?.['note']).toBe(unsent)
    await database.query('ALTER TABLE things REPLICA IDENTITY FULL')
    await database.query('UPDATE things SET version = 3')
    await expect.poll(() => batches.length).toBe(2)
    expect(batches[1]?.changes[0]?.after).toMatchObject({ version: 3, note: 'x'.repeat(10_000) })
    expect(batches[1]?.changes[0]?.before).toMatchObject({ version: 2 })
  })

  it('emits what was committed while it was away, and nothing twice that was handled (C2)', async () => {
    const first = open()
    const before = await collect(first)
    await database.query('INSERT INTO things VALUES (1, 1)')
    await expect.poll(() => before.length).toBe(1)
    await first.stop()
    await database.query('INSERT INTO things VALUES (2, 1)')
    const after = await collect(open())
    await expect.poll(() => after.length).toBe(1)
    expect(after[0]?.changes[0]?.after?.['id']).toBe(2)
  })

  it('gives a batch again when the sink fails, and the next only then (C11)', async () => {
    const seen: unknown[] = []
    let failures = 2
    await open().start((batch) => {
      if (failures-- > 0) return Promise.reject(new Error('not now'))
      seen.push(batch.changes[0]?.after?.['id'])
      return Promise.resolve()
    })
    await database.query('INSERT INTO things VALUES (1, 1)')
    await database.query('INSERT INTO things VALUES (2, 1)')
    await expect.poll(() => seen).toEqual([1, 2])
  })

  it('acknowledges nothing before the sink has returned (C2, C11)', async () => {
    let release: () => void = () => {}
    const held: ChangeBatch[] = []
    const first = open()
    await first.start((batch) => {
      held.push(batch)
      return new Promise((resolve) => (release = resolve))
    })
    await database.query('INSERT INTO things VALUES (1, 1)')
    await expect.poll(() => held.length).toBe(1)
    await first.stop()
    release()
    const again = await collect(open())
    await expect.poll(() => again.map((batch) => batch.position)).toEqual([held[0]?.position])
  })

  it('acknowledges exactly the end of the commit: the next transaction begins there and comes (C2)', async () => {
    for (let round = 0; round < 5; round++) {
      const feed = open()
      const batches = await collect(feed)
      // Two commits at once: the second one's record begins where the first one's ends.
      await Promise.all([
        database.query('INSERT INTO things VALUES ($1, 1)', [round * 2]),
        database.query('INSERT INTO things VALUES ($1, 1)', [round * 2 + 1]),
      ])
      await expect.poll(() => batches.flatMap((batch) => batch.changes).length).toBe(2)
      await feed.stop()
    }
  })

  it('goes on after its connection was cut, without loss or repeat (C3)', async () => {
    const batches = await collect(open({ heartbeatMs: 200 }))
    for (let n = 1; n <= 30; n++) {
      await database.query('INSERT INTO things VALUES ($1, 1)', [n])
      if (n % 10 === 0)
        await database.query(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1`, [
          slotOf('s'),
        ])
    }
    await expect.poll(() => batches.length, { timeout: 15_000 }).toBe(30)
    expect(batches.flatMap((batch) => batch.changes.map((change) => change.after?.['id']))).toEqual(
      Array.from({ length: 30 }, (_, n) => n + 1),
    )
  })

  it('emits a transaction only when a fresh read sees it, in order for each row (C1, C9)', async () => {
    const keys = [1, 2, 3]
    for (const id of keys) await database.query('INSERT INTO things VALUES ($1, 0)', [id])
    const seen = new Map<number, number[]>(keys.map((id) => [id, []]))
    let stale = 0
    await open().start(async (batch) => {
      for (const { after } of batch.changes) {
        const id = after?.['id'] as number
        const version = after?.['version'] as number
        seen.get(id)?.push(version)
        const [row] = await database.query<{ version: number }>('SELECT version FROM things WHERE id = $1', [id])
        if ((row?.version ?? -1) < version) stale += 1
      }
    })
    const writers = Array.from({ length: 6 }, async (_, writer) => {
      for (let n = 0; n < 100; n++)
        await database.query('UPDATE things SET version = version + 1 WHERE id = $1', [
          keys[(writer + n) % keys.length],
        ])
    })
    await Promise.all(writers)
    await expect
      .poll(() => [...seen.values()].reduce((sum, versions) => sum + versions.length, 0), { timeout: 30_000 })
      .toBe(600)
    expect(stale).toBe(0)
    for (const versions of seen.values())
      expect(versions).toEqual(Array.from({ length: versions.length }, (_, n) => n + 1))
  })

  it('emits a very large transaction in parts of one position (C6)', async () => {
    const batches = await collect(open({ maxTransactionChanges: 1000 }))
    await database.query('INSERT INTO things SELECT n, 1 FROM generate_series(1, 3500) AS n')
    await expect.poll(() => batches.at(-1)?.part?.last, { timeout: 15_000 }).toBe(true)
    expect(batches.map((batch) => [batch.part?.index, batch.changes.length])).toEqual([
      [0, 1000],
      [1, 1000],
      [2, 1000],
      [3, 500],
    ])
    expect(new Set(batches.map((batch) => batch.position)).size).toBe(1)
  })

  it('follows a new column, and announces a lost slot as a gap (C4, C8)', async () => {
    const batches = await collect(open({ heartbeatMs: 200 }))
    await database.query('ALTER TABLE things ADD extra text')
    await database.query(`INSERT INTO things VALUES (1, 1, 'a', 'b')`)
    await expect.poll(() => batches.length).toBe(1)
    expect(batches[0]?.changes[0]?.after).toEqual({ id: 1, version: 1, note: 'a', extra: 'b' })
    await dropSlot()
    await expect.poll(() => batches.some((batch) => batch.gap !== undefined), { timeout: 15_000 }).toBe(true)
    await database.query('INSERT INTO things VALUES (2, 1)')
    await expect.poll(() => batches.at(-1)?.changes[0]?.after?.['id'], { timeout: 15_000 }).toBe(2)
  })

  it('refuses what cannot work, and names the way out (C7)', async () => {
    const refusal = async (feed: ChangeFeed) =>
      feed
        .start(() => Promise.resolve())
        .then(
          () => null,
          (error: { code: string; message: string }) => error,
        )
    await collect(open())
    const inUse = await refusal(open({ slotWaitMs: 300 }))
    expect(inUse).toMatchObject({ code: 'feed_slot_in_use' })
    const missing = postgresReplication({ connectionString: database.url, slot: slotOf('m') })
    missing.watch?.([{ schema: 'public', name: 'nothing', columns: [], routing: [] }])
    expect(await refusal(missing)).toMatchObject({ code: 'feed_table_missing' })
    const column = postgresReplication({ connectionString: database.url, slot: slotOf('m') })
    column.watch?.([{ schema: 'public', name: 'things', columns: ['gone'], routing: [] }])
    expect(await refusal(column)).toMatchObject({ code: 'feed_column_missing' })
    const identity = postgresReplication({ connectionString: database.url, slot: slotOf('m') })
    identity.watch?.([{ schema: 'public', name: 'things', columns: ['note'], routing: ['note'] }])
    const refused = await refusal(identity)
    expect(refused).toMatchObject({ code: 'feed_replica_identity' })
    expect(refused?.message).toContain('REPLICA IDENTITY FULL')
    const away = postgresReplication({ connectionString: 'postgres://nobody@127.0.0.1:1/none', slot: 'x' })
    expect(await refusal(away)).toMatchObject({ code: 'feed_unavailable' })
    expect(() => postgresReplication({ connectionString: database.url, slot: 'Bad Slot' })).toThrow('no slot name')
  })

  it('holds little in memory while the sink is slow (C11)', async () => {
    let release: () => void = () => {}
    const gate = new Promise<void>((resolve) => (release = resolve))
    let changes = 0
    const feed = open({ maxBufferedBytes: 10_000, maxTransactionChanges: 100 })
    await feed.start(async (batch) => {
      await gate
      changes += batch.changes.length
    })
    await database.query(`INSERT INTO things SELECT n, 1, 'some text' FROM generate_series(1, 20000) AS n`)
    await expect.poll(() => feed.status?.().lagMs ?? 0).toBeGreaterThan(0)
    release()
    await expect.poll(() => changes, { timeout: 20_000 }).toBe(20_000)
  })
})
