import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { expect, it } from 'vitest'
import { changes } from '../src/drizzle.ts'
import type { CrossfadeError } from '@crossfade/protocol'
import { touched, type WatchedTable } from '../src/index.ts'
import { feedBench, things } from './feed-bench.ts'

const table = (name: string, routing: string[], columns = ['id', 'owner', 'place']): WatchedTable => ({
  schema: 'public',
  name,
  columns,
  routing,
})

it('reports everything that is wrong with all tables together, with one script that fixes it (C7)', async () => {
  await using bench = await feedBench(`
    CREATE TABLE one (id integer PRIMARY KEY, owner text, place text);
    CREATE TABLE "Two Words" (id integer, owner text, place text);
    CREATE TABLE "pa""rts" (id integer PRIMARY KEY, owner text, place text) PARTITION BY RANGE (id);
    CREATE TABLE low PARTITION OF "pa""rts" FOR VALUES FROM (0) TO (9);
    CREATE TABLE high PARTITION OF "pa""rts" FOR VALUES FROM (9) TO (99);`)
  const tables = [table('one', ['owner', 'place']), table('Two Words', ['id']), table('pa"rts', ['owner'])]
  const error = await bench
    .feed({}, tables)
    .start(() => Promise.resolve())
    .then(
      () => null,
      (refused: CrossfadeError) => refused,
    )
  expect(error?.code).toBe('feed_replica_identity')
  expect(error?.message).toContain('4 things')
  expect(error?.message).toContain('do not carry owner, place')
  const script = error?.message.split('\n\n').at(-1) ?? ''
  expect(script.split('\n')).toHaveLength(4)
  await bench.query(script)
  await bench.started({}, tables)
})

it('says beside it which tables and columns are missing, as comments in the script (C7)', async () => {
  await using bench = await feedBench('CREATE TABLE one (id integer PRIMARY KEY, owner text)')
  const tables = [table('none', ['id']), table('one', ['owner', 'place'])]
  const start = bench.feed({}, tables).start(() => Promise.resolve())
  const error = await start.then(
    () => null,
    (refused: CrossfadeError) => refused,
  )
  expect(error?.code).toBe('feed_table_missing')
  expect(error?.message.split('\n\n').at(-1)).toBe(
    `-- public.none is missing: run the migrations
-- public.one lacks the column place: run the migrations
ALTER TABLE public.one REPLICA IDENTITY FULL;`,
  )
})

it('accepts a table whose key alone is sent if the rule says that rows do not move', async () => {
  await using bench = await feedBench('CREATE TABLE notes (id integer PRIMARY KEY, owner text NOT NULL, body text)')
  const notes = pgTable('notes', { id: integer().primaryKey(), owner: text().notNull(), body: text() })
  const byOwner = (note: { owner: string }): { owner: string } => ({ owner: note.owner })
  await expect(bench.feed({}, [changes(notes, byOwner).table]).start(() => Promise.resolve())).rejects.toMatchObject({
    code: 'feed_replica_identity',
    message: expect.stringContaining('{ moves: false }'),
  })
  const rule = changes(notes, byOwner, { moves: false })
  const { inbox } = await bench.started({}, [rule.table])
  await bench.query(`INSERT INTO notes VALUES (1, 'ann', 'a')`)
  await bench.query(`UPDATE notes SET body = 'b'`)
  await bench.query(`UPDATE notes SET id = 2`)
  await bench.query('DELETE FROM notes')
  await inbox.until(({ changes: seen }) => seen.length === 4)
  expect(inbox.changes.map((change) => touched(rule, change))).toEqual([
    { before: null, after: { owner: 'ann' } },
    { before: null, after: { owner: 'ann' } },
    { before: null, after: { owner: 'ann' } },
    // Its former owner is not sent.
    { before: 'all', after: null },
  ])
})

it('still follows a row that moves where the database sends it whole', async () => {
  await using bench = await feedBench()
  const rows = pgTable('things', { id: integer().primaryKey(), version: integer().notNull(), note: text() })
  await bench.query('ALTER TABLE things REPLICA IDENTITY FULL')
  const rule = changes(rows, (row) => ({ note: row.note ?? '' }), { moves: false })
  const { inbox } = await bench.started({}, [things])
  await bench.query(`INSERT INTO things VALUES (1, 1, 'a')`)
  await bench.query(`UPDATE things SET note = 'b'`)
  await inbox.until(({ changes: seen }) => seen.length === 2)
  const [, update] = inbox.changes
  expect(update && touched(rule, update)).toEqual({ before: { note: 'a' }, after: { note: 'b' } })
})
