import { startEmbeddedPostgres } from '@crossfade/testkit/embedded-postgres'
import { describe, expect, it } from 'vitest'
import type { ChangeFeed } from '../src/index.ts'
import { postgresReplication } from '../src/postgres-replication.ts'
import { feedBench, Inbox, things, type Bench } from './feed-bench.ts'

const silent = { info: () => {}, warn: () => {}, error: () => {} }

describe('the PostgreSQL feed refuses to start', () => {
  it('with a missing database, and does not reveal the password', async () => {
    const feed = postgresReplication({
      connectionString: 'postgres://me:secret@127.0.0.1:1/none',
      slot: 'x',
      logger: silent,
    })
    const error = await refusal(feed)
    expect(error).toMatchObject({ code: 'feed_unavailable' })
    expect(error.message).toContain('127.0.0.1:1/none')
    expect(error.message).not.toContain('secret')
  })

  it('without wal_level=logical, and says how to set it', async () => {
    const server = await startEmbeddedPostgres({ flags: ['-c', 'wal_level=replica'] })
    try {
      const error = await refusal(postgresReplication({ connectionString: server.url, slot: 'x', logger: silent }))
      expect(error).toMatchObject({ code: 'feed_not_logical' })
      expect(error.message).toMatch(/wal_level=replica.*ALTER SYSTEM SET wal_level = logical/)
    } finally {
      await server.stop()
    }
  })

  it.each(['max_replication_slots', 'max_wal_senders'])('with %s=0, and says how to set it', async (setting) => {
    const server = await startEmbeddedPostgres({ flags: ['-c', 'wal_level=logical', '-c', `${setting}=0`] })
    try {
      const error = await refusal(postgresReplication({ connectionString: server.url, slot: 'x', logger: silent }))
      expect(error).toMatchObject({ code: 'feed_not_logical' })
      expect(error.message).toContain(`ALTER SYSTEM SET ${setting} = 10`)
    } finally {
      await server.stop()
    }
  })

  it('for a role without REPLICATION, and names the statement', async () => {
    await using bench = await feedBench()
    await using role = await roleOf(bench, 'LOGIN')
    const error = await refusal(bench.feed({ connectionString: role.url }))
    expect(error).toMatchObject({ code: 'feed_forbidden' })
    expect(error.message).toContain(`ALTER ROLE ${role.name} REPLICATION`)
  })

  it('for a role that may not publish the table, and names the statement', async () => {
    await using bench = await feedBench()
    await using role = await roleOf(bench, 'LOGIN REPLICATION')
    const error = await refusal(bench.feed({ connectionString: role.url }))
    expect(error).toMatchObject({ code: 'feed_forbidden' })
    expect(error.message).toContain(`CREATE PUBLICATION "${bench.slot}" FOR TABLE "public"."things"`)
  })

  it('while another process holds the slot, and names that process', async () => {
    await using bench = await feedBench()
    await bench.started()
    const error = await refusal(bench.feed({ slotWaitMs: 1 }))
    expect(error).toMatchObject({ code: 'feed_slot_in_use' })
    expect(error.message).toMatch(/PID \d+.*shared broker/)
  })

  it('with a slot of another database', async () => {
    await using bench = await feedBench()
    await using other = await feedBench()
    await bench.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [bench.slot])
    expect(await refusal(other.feed({ slot: bench.slot }))).toMatchObject({ code: 'feed_slot_foreign' })
  })

  it('with a name that is not a slot name', () => {
    expect(() => postgresReplication({ connectionString: 'postgres://db/shop', slot: 'Bad Slot' })).toThrow(
      'not a slot name',
    )
  })

  it('when it is started already', async () => {
    await using bench = await feedBench()
    const { feed } = await bench.started()
    expect(await refusal(feed)).toMatchObject({ code: 'invalid_options' })
  })

  for (const [what, sql, table, code, text] of [
    ['without a table', 'SELECT 1', things, 'feed_table_missing', 'no table public.things'],
    [
      'without a column',
      'CREATE TABLE things (id integer PRIMARY KEY)',
      things,
      'feed_column_missing',
      'no column version',
    ],
    [
      'when old rows do not carry what routes them',
      'CREATE TABLE things (id integer PRIMARY KEY, version integer, note text)',
      { ...things, routing: ['note'] },
      'feed_replica_identity',
      'do not carry note, by which they are assigned to topics. Run ALTER TABLE public.things REPLICA IDENTITY FULL',
    ],
    [
      'when publishing would break updates',
      'CREATE TABLE things (id integer, version integer, note text)',
      { ...things, routing: [] },
      'feed_replica_identity',
      'no primary key',
    ],
    [
      'when a partition does not carry what routes it',
      `CREATE TABLE things (id integer, version integer, note text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
       CREATE TABLE low PARTITION OF things FOR VALUES FROM (0) TO (9); ALTER TABLE low REPLICA IDENTITY NOTHING`,
      things,
      'feed_replica_identity',
      'ALTER TABLE public.low REPLICA IDENTITY FULL',
    ],
  ] as const) {
    it(`${what} (C7)`, async () => {
      await using bench = await feedBench(sql)
      const error = await refusal(bench.feed({}, [table]))
      expect(error).toMatchObject({ code })
      expect(error.message).toContain(text)
    })
  }
})

describe('the PostgreSQL feed starts', () => {
  it('for a role that owns its tables and may replicate, without more rights', async () => {
    await using bench = await feedBench()
    await using role = await roleOf(bench, 'LOGIN REPLICATION')
    await bench.query(
      `ALTER TABLE things OWNER TO ${role.name}; GRANT CREATE ON DATABASE ${role.database} TO ${role.name}`,
    )
    const { feed, inbox } = await bench.started({ connectionString: role.url, heartbeatMs: 20 })
    await bench.query('INSERT INTO things VALUES (1)')
    await inbox.untilId(1)
    expect(feed.status?.().lastError).toBeUndefined()
    await feed.stop()
  })

  it('with a publication that an administrator made and that holds more', async () => {
    await using bench = await feedBench()
    await using role = await roleOf(bench, 'LOGIN REPLICATION')
    await bench.query('CREATE TABLE others (id integer PRIMARY KEY)')
    await bench.query(
      `CREATE PUBLICATION ${bench.slot} FOR TABLE things, others WITH (publish_via_partition_root = true)`,
    )
    const { feed, inbox } = await bench.started({ connectionString: role.url })
    await bench.query('INSERT INTO others VALUES (7)')
    await bench.query('INSERT INTO things VALUES (1)')
    await inbox.untilId(1)
    expect(inbox.values('id')).toEqual([1])
    await feed.stop()
  })

  it('with another set of tables than before', async () => {
    await using bench = await feedBench()
    await bench.query('CREATE TABLE others (id integer PRIMARY KEY)')
    const first = await bench.started()
    await first.feed.stop()
    const others = { schema: 'public', name: 'others', columns: ['id'], routing: ['id'] }
    const { inbox } = await bench.started({}, [others])
    await bench.query('INSERT INTO things VALUES (1)')
    await bench.query('INSERT INTO others VALUES (2)')
    await inbox.untilId(2)
    expect(inbox.values('id')).toEqual([2])
  })

  it('when the slot becomes free in time', async () => {
    await using bench = await feedBench()
    const { feed } = await bench.started()
    const inbox = new Inbox()
    const waiting = bench.feed().start(inbox.sink)
    await feed.stop()
    await waiting
    await bench.query('INSERT INTO things VALUES (1)')
    await inbox.untilId(1)
    expect(inbox.batches).toHaveLength(1)
  })

  it('and says that it was stopped when that happens first', async () => {
    await using bench = await feedBench()
    await bench.started()
    const second = bench.feed()
    const starting = refusal(second)
    await second.stop()
    expect(await starting).toMatchObject({ code: 'feed_stopped' })
  })

  it('and knows the position of the database, which grows', async () => {
    await using bench = await feedBench()
    const { feed, inbox } = await bench.started()
    const before = await feed.position?.()
    await bench.query('INSERT INTO things VALUES (1)')
    await inbox.untilId(1)
    const after = await feed.position?.()
    const { position = '' } = inbox.batches[0] ?? {}
    expect((before ?? '') <= position).toBe(true)
    expect(position < (after ?? '')).toBe(true)
    await feed.stop()
    await expect(feed.position?.()).rejects.toMatchObject({ code: 'feed_stopped' })
  })
})

async function refusal(feed: ChangeFeed): Promise<{ code: string; message: string }> {
  return feed
    .start(() => Promise.resolve())
    .then(
      () => {
        throw new Error('the feed started')
      },
      (error: { code: string; message: string }) => error,
    )
}

/** A role of one test; roles are named for the whole server. */
async function roleOf(
  bench: Bench,
  rights: string,
): Promise<AsyncDisposable & { name: string; url: string; database: string }> {
  const url = new URL(bench.database.url)
  const database = url.pathname.slice(1)
  const name = `role_${database}`
  await bench.query(`CREATE ROLE ${name} ${rights} PASSWORD 'word'`)
  url.username = name
  url.password = 'word'
  return {
    name,
    database,
    url: url.href,
    async [Symbol.asyncDispose]() {
      await bench.query(`REASSIGN OWNED BY ${name} TO CURRENT_USER; DROP OWNED BY ${name}; DROP ROLE ${name}`)
    },
  }
}
