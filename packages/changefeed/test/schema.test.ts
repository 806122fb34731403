import { describe, expect, it } from 'vitest'
import { unsent } from '../src/index.ts'
import { feedBench, things } from './feed-bench.ts'

describe('the PostgreSQL feed while the schema changes (C8)', () => {
  it('follows a new column, a new type and a new order in the same transaction as rows', async () => {
    await using bench = await feedBench()
    const { inbox } = await bench.started()
    await bench.query(`
      BEGIN; INSERT INTO things VALUES (1, 1, 'a');
      ALTER TABLE things ADD extra text DEFAULT 'b'; INSERT INTO things VALUES (2);
      ALTER TABLE things ALTER version TYPE text; INSERT INTO things VALUES (3, 'x'); COMMIT`)
    await inbox.untilId(3)
    expect(inbox.changes.map((change) => change.after)).toEqual([
      { id: 1, version: 1, note: 'a' },
      { id: 2, version: 1, note: null, extra: 'b' },
      { id: 3, version: 'x', note: null, extra: 'b' },
    ])
  })

  it('says which column is gone, and calls it unsent', async () => {
    await using bench = await feedBench()
    const { feed, inbox } = await bench.started()
    await bench.query('ALTER TABLE things DROP note')
    await bench.query('INSERT INTO things VALUES (1)')
    await inbox.untilId(1)
    expect(inbox.changes[0]?.after).toEqual({ id: 1, version: 1, note: unsent })
    expect(feed.status?.().lastError).toContain('public.things has no column note')
    await bench.query('ALTER TABLE things ADD note text')
    await bench.query('INSERT INTO things VALUES (2)')
    await inbox.untilId(2)
    await expect.poll(() => feed.status?.().lastError).toBeUndefined()
  })

  it('keeps the name that rules know for a table that is renamed', async () => {
    await using bench = await feedBench()
    const { inbox } = await bench.started()
    await bench.query('ALTER TABLE things RENAME TO items')
    await bench.query('INSERT INTO items VALUES (1)')
    await inbox.untilId(1)
    expect(inbox.changes[0]?.table).toBe('public.things')
  })

  it('names a table that is gone and follows the others; once recreated, it is followed after a gap', async () => {
    await using bench = await feedBench()
    await bench.query('CREATE TABLE others (id integer PRIMARY KEY)')
    const others = { schema: 'public', name: 'others', columns: ['id'], routing: ['id'] }
    const { feed, inbox } = await bench.started({ heartbeatMs: 50 }, [things, others])
    await bench.query('DROP TABLE things')
    await bench.cut('walsender')
    await bench.query('INSERT INTO others VALUES (1)')
    await inbox.untilId(1)
    await expect.poll(() => feed.status?.().lastError).toContain('no table public.things')
    await bench.query('CREATE TABLE things (id integer PRIMARY KEY, version integer, note text)')
    await inbox.until(({ batches }) => batches.some((batch) => batch.gap))
    await bench.query('INSERT INTO things VALUES (2)')
    await inbox.untilId(2)
    expect(inbox.changes.map((change) => change.table)).toEqual(['public.others', 'public.things'])
    await expect.poll(() => feed.status?.().lastError).toBeUndefined()
  })

  it('follows a table that is dropped and recreated while the stream continues, after a gap (C8)', async () => {
    await using bench = await feedBench()
    const { inbox } = await bench.started({ heartbeatMs: 1_000 })
    // In one transaction: no check finds it missing, only unpublished.
    await bench.query('DROP TABLE things; CREATE TABLE things (id integer PRIMARY KEY, version integer, note text)')
    await inbox.until(({ batches }) => batches.some((batch) => batch.gap))
    await bench.query('INSERT INTO things VALUES (1)')
    await inbox.untilId(1)
    expect(inbox.changes.map((change) => change.table)).toEqual(['public.things'])
  })
})
