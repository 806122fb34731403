import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import type { ChangeFeed, FeedState } from '../src/index.ts'
import { postgresReplication } from '../src/postgres-replication.ts'
import { feedBench, Inbox, things, type Bench } from './feed-bench.ts'

const takeoverMs = 5_000
const root = fileURLToPath(new URL('../../..', import.meta.url))
const script = fileURLToPath(new URL('feed-process.ts', import.meta.url))

describe('a PostgreSQL feed that may stand by, while another holds the slot (D18)', () => {
  it('starts immediately, and takes over where the other one ended, without loss or repeat', async () => {
    await using bench = await feedBench()
    const first = await bench.started()
    const second = await standby(bench)
    expect(second.states).toEqual(['starting', 'standby'])
    expect(second.feed.status?.()).toMatchObject({ state: 'standby' })
    expect(second.feed.status?.().lastError).toBeUndefined()
    await bench.query('INSERT INTO things VALUES (1)')
    await first.inbox.untilId(1)
    await first.feed.stop()
    await bench.query('INSERT INTO things VALUES (2)')
    await within(takeoverMs, Promise.all([second.inbox.untilId(2), until(second, 'streaming')]))
    expect(second.states).toEqual(['starting', 'standby', 'streaming'])
    expect(second.inbox.values('id')).toEqual([2])
    expect(second.inbox.batches.some((batch) => batch.gap)).toBe(false)
  })

  it('takes over within 5 s of kill -9 of its process', async () => {
    await using bench = await feedBench()
    await using other = await feedProcess(bench)
    await other.says('streaming')
    const second = await standby(bench)
    await bench.query('INSERT INTO things VALUES (1)')
    await other.says('row 1')
    other.child.kill('SIGKILL')
    await once(other.child, 'exit')
    await bench.query('INSERT INTO things VALUES (2)')
    await within(takeoverMs, second.inbox.untilId(2))
    expect(second.inbox.values('id').at(-1)).toBe(2)
  })

  it('touches neither its publication nor its slot, also with other tables (C17)', async () => {
    await using bench = await feedBench()
    await bench.query('CREATE TABLE others (id integer PRIMARY KEY)')
    const first = await bench.started()
    const facts = (): Promise<unknown> =>
      bench.query(
        `SELECT p.xmin::text, p.oid, array_agg(t.tablename::text) AS tables, (SELECT count(*) FROM pg_replication_slots s WHERE s.slot_name = $1) AS slots
         FROM pg_publication p JOIN pg_publication_tables t ON t.pubname = p.pubname WHERE p.pubname = $1 GROUP BY 1, 2`,
        [bench.slot],
      )
    const before = await facts()
    const others = { schema: 'public', name: 'others', columns: ['id'], routing: ['id'] }
    const second = await standby(bench, [others])
    expect(await facts()).toEqual(before)
    await expect(bench.feed({ slotWaitMs: 1 }, [others]).start(() => Promise.resolve())).rejects.toMatchObject({
      code: 'feed_slot_in_use',
    })
    expect(await facts()).toEqual(before)
    await bench.query('INSERT INTO things VALUES (1)')
    await first.inbox.untilId(1)
    await first.feed.stop()
    await until(second, 'streaming')
    expect(await facts()).toMatchObject([{ tables: ['others'] }])
  })

  it('waits, and changes nothing, while another process is still setting up (C17)', async () => {
    await using bench = await feedBench()
    // What a process holds from before its set-up until it streams.
    const key = `1667658604, hashtext('${bench.slot}')`
    const other = new pg.Client(bench.database.url)
    await other.connect()
    await other.query(`SELECT pg_advisory_lock(${key})`)
    const second = await standby(bench)
    expect(second.states).toEqual(['starting', 'standby'])
    expect(await bench.query('SELECT FROM pg_publication WHERE pubname = $1', [bench.slot])).toEqual([])
    await other.query(`SELECT pg_advisory_unlock(${key})`)
    await until(second, 'streaming')
    await other.end()
  })

  it('is the only one that streams, of several that start or end together', async () => {
    await using bench = await feedBench()
    const all = await Promise.all(Array.from({ length: 4 }, () => standby(bench)))
    const rows: unknown[] = []
    for (let living = all; living.length > 0;) {
      const owner = await within(takeoverMs, Promise.race(living.map((one) => until(one, 'streaming').then(() => one))))
      expect(living.filter(({ feed }) => feed.status?.().state === 'streaming')).toEqual([owner])
      await bench.query('INSERT INTO things VALUES ($1)', [living.length])
      await owner.inbox.untilId(living.length)
      living = living.filter((one) => one !== owner)
      await owner.feed.stop()
      rows.push(...owner.inbox.values('id'))
    }
    expect(rows).toEqual([4, 3, 2, 1])
    expect(all.flatMap(({ inbox }) => inbox.values('id'))).toHaveLength(4)
  })

  it('becomes standby itself when another takes the slot, and says what it missed when it is back (C4)', async () => {
    await using bench = await feedBench()
    const first = await standby(bench)
    const second = await standby(bench)
    await bench.query('INSERT INTO things VALUES (1)')
    await first.inbox.untilId(1)
    // Both compete for it: cut until the second is the quicker one.
    for (let tries = 0; tries < 100 && second.feed.status?.().state !== 'streaming'; tries++) {
      await bench.cut('walsender')
      await Promise.race([until(second, 'streaming'), until(first, 'streaming', first.states.length)])
    }
    await within(takeoverMs, until(first, 'standby'))
    await bench.query('INSERT INTO things VALUES (2)')
    await second.inbox.untilId(2)
    await second.feed.stop()
    await within(
      takeoverMs,
      first.inbox.until(({ batches }) => batches.some((batch) => batch.gap)),
    )
    expect(first.inbox.batches.find((batch) => batch.gap)?.gap?.reason).toContain('another process')
  })

  it('rejects immediately for a table that cannot be followed', async () => {
    await using bench = await feedBench()
    await bench.started()
    const feed = bench.feed({}, [{ ...things, name: 'nothing' }])
    await expect(feed.start(() => Promise.resolve(), { standby: true })).rejects.toMatchObject({
      code: 'feed_table_missing',
    })
  })

  it('does not wait for a slot of another database', async () => {
    await using bench = await feedBench()
    await using other = await feedBench()
    await bench.started()
    const feed = other.feed({ slot: bench.slot })
    await expect(feed.start(() => Promise.resolve(), { standby: true })).rejects.toMatchObject({
      code: 'feed_slot_foreign',
    })
  })

  it('stands by again after its connection was lost, and ends when it is told to', async () => {
    await using bench = await feedBench()
    await bench.started()
    const second = await standby(bench)
    await bench.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND query LIKE '%pg_replication_slots%'`,
      [`crossfade ${bench.slot}`],
    )
    await until(second, 'reconnecting')
    await until(second, 'standby', second.states.length)
    await second.feed.stop()
    expect(second.states.slice(-2)).toEqual(['standby', 'stopped'])
  })
})

describe('a PostgreSQL feed whose database accepts the connection and never answers (D17)', () => {
  it('ends immediately when it is stopped', async () => {
    await using silent = await silentServer()
    const feed = postgresReplication({ connectionString: silent.url, slot: 'x' })
    const refused = feed.start(() => Promise.resolve()).catch((error: unknown) => error)
    await silent.connected
    await within(1_000, feed.stop())
    expect(await refused).toMatchObject({ code: 'feed_stopped' })
    expect(feed.status?.().state).toBe('stopped')
  })
})

interface Standby {
  readonly feed: ChangeFeed
  readonly inbox: Inbox
  readonly states: FeedState[]
}

/** Starts a feed that may stand by. */
async function standby(bench: Bench, tables = [things]): Promise<Standby> {
  const feed = bench.feed({}, tables)
  const inbox = new Inbox()
  const states: FeedState[] = []
  feed.onState?.((state) => states.push(state))
  await feed.start(inbox.sink, { standby: true })
  return { feed, inbox, states }
}

/** Resolves when the feed has reached a state. @param after ignores this many earlier states. */
function until({ feed, states }: Standby, state: FeedState, after = 0): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (!states.slice(after).includes(state)) return
      off?.()
      resolve()
    }
    const off = feed.onState?.(look)
    look()
  })
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`it took more than ${ms} ms`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

async function feedProcess(bench: Bench) {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', '--conditions=@crossfade/source', script, bench.database.url, bench.slot],
    { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const lines = createInterface(child.stdout)
  const said = new Set<string>()
  lines.on('line', (line) => said.add(line))
  return {
    child,
    async says(line: string): Promise<void> {
      while (!said.has(line)) await once(lines, 'line')
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

/** A port that takes connections and never answers. */
async function silentServer() {
  const server = createServer()
  const connected = once(server, 'connection')
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `postgres://me:secret@127.0.0.1:${(server.address() as AddressInfo).port}/shop`,
    connected,
    async [Symbol.asyncDispose]() {
      const [socket] = (await connected) as [import('node:net').Socket]
      socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
