import { EventEmitter, once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ChangeFeed, ChangeRule, RowChange, WatchedTable } from '@crossfade/changefeed'
import { postgresReplication } from '@crossfade/changefeed/postgres-replication'
import { createClient, type Client } from '@crossfade/client'
import crossfade, { value } from '@crossfade/server'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { freshDatabase } from './database.ts'
import { writeExamples, type Examples } from './documents/examples.ts'
import { codeBlocks } from './documents/markdown.ts'

// What each example of docs/recipes and docs/feeds.md promises, run. Those of nginx.md are only compiled (documents.test.ts): there is no nginx in an npm package.

type Shop = typeof import('./documents/fixture/shop.ts')

const written: Examples[] = []
const open: (() => unknown)[] = []

afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})
afterAll(async () => {
  for (const examples of written) await examples.remove()
})

/** Loads a recipe's application, with all its features at `push`, and the shop that it serves. */
async function serve(recipe: string, file: string): Promise<{ app: FastifyInstance; shop: Shop; origin: string }> {
  const { folder } = await write(recipe)
  const { app } = (await import(/* @vite-ignore */ join(folder, file))) as { app: FastifyInstance }
  const shop = (await import(/* @vite-ignore */ join(folder, 'shop.ts'))) as Shop
  open.push(() => app.close())
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  for (const { feature } of app.crossfade.rollout.all())
    app.crossfade.rollout.set(feature, { stage: 'push', percent: 100, rest: 'off' })
  return { app, shop, origin }
}

const read = (recipe: string): string => readFileSync(new URL(`../docs/recipes/${recipe}.md`, import.meta.url), 'utf8')

async function write(recipe: string): Promise<Examples> {
  // A module is loaded once for each path.
  const examples = await writeExamples(`${recipe.replaceAll(/\W/g, '')}-${written.length}`, read(recipe))
  written.push(examples)
  return examples
}

/** A subscriber, by its headers or its token. */
class Reader {
  readonly #client: Client
  readonly #heard = new EventEmitter()

  constructor(origin: string, topic: string, credentials: { token?: string; headers?: Record<string, string> } = {}) {
    const { token, headers = {} } = credentials
    class Socket extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols, { headers })
      }
    }
    this.#client = createClient({
      origin,
      environment: { WebSocket: Socket },
      ...(token === undefined ? {} : { token: () => token }),
    })
    this.#client.subscribe(topic, {
      onValue: (value) => this.#heard.emit('next', value),
      onError: (error) => this.#heard.emit('next', error),
    })
    open.push(() => this.#client.close())
  }

  /** The next value, or what it is refused with. */
  async next(): Promise<unknown> {
    const [next] = (await once(this.#heard, 'next')) as unknown[]
    return next
  }
}

test('joins.md: a change of each joined table reaches the order', async () => {
  const { shop, origin } = await serve('joins', 'joins.ts')
  const reader = new Reader(origin, 'orders/42')
  expect(await reader.next()).toEqual({ id: 42, customer: 'Ann', items: ['Grinder'] })
  let next = reader.next()
  await shop.renameCustomer('Bea')
  expect(await next).toMatchObject({ customer: 'Bea' })
  next = reader.next()
  await shop.addItem('Tamper')
  expect(await next).toMatchObject({ items: ['Grinder', 'Tamper'] })
})

describe('tenants-and-roles.md', () => {
  test('one load for each organisation and role, and none for an organisation of which nothing changed', async () => {
    const { shop, origin } = await serve('tenants-and-roles', 'tenants.ts')
    const tokens = ['user=1.acme.clerk', 'user=2.acme.clerk', 'user=3.acme.manager', 'user=4.beta.clerk']
    const readers = tokens.map((token) => new Reader(origin, `orgs/${token.split('.')[1]}/orders`, { token }))
    expect(await Promise.all(readers.map((reader) => reader.next()))).toMatchObject([
      { orgId: 'acme', total: null },
      { orgId: 'acme', total: null },
      { orgId: 'acme', total: 1200 },
      { orgId: 'beta', total: null },
    ])
    shop.reads.clear()
    const acme = readers.slice(0, 3).map((reader) => reader.next())
    await shop.moveOrder('acme')
    await Promise.all(acme)
    expect([...shop.reads]).toEqual([
      ['acme clerk', 1],
      ['acme manager', 1],
    ])
  })

  test('a foreign organisation is refused, and a claim that is missing makes no group', async () => {
    const { app, origin } = await serve('tenants-and-roles', 'tenants.ts')
    const stranger = new Reader(origin, 'orgs/acme/orders', { token: 'user=4.beta.clerk' })
    expect(await stranger.next()).toMatchObject({ code: 'forbidden' })
    const { headers, statusCode } = await app.inject({ url: '/api/orders', headers: { cookie: 'user=5.acme.' } })
    expect(statusCode).toBe(200)
    expect(headers).toMatchObject({ 'crossfade-skipped': 'the group of this principal is unusable' })
    expect(headers).not.toHaveProperty('crossfade')
  })
})

describe('cross-origin-cookies.md', () => {
  const page = { origin: 'https://app.example.com', cookie: 'user=7.acme.clerk' }

  test('the page reads the header, and polls and sockets with the cookie are accepted', async () => {
    const { app, origin } = await serve('cross-origin-cookies', 'cross-origin-server.ts')
    const { headers } = await app.inject({ url: '/api/orders', headers: page })
    expect(headers).toMatchObject({
      'access-control-allow-origin': page.origin,
      'access-control-allow-credentials': 'true',
      crossfade: expect.stringContaining('topic="my-orders"'),
    })
    expect(String(headers['access-control-expose-headers']).split(', ').toSorted()).toEqual([
      'Crossfade',
      'ETag',
      'Retry-After',
      'Vary',
    ])
    const preflight = await app.inject({
      method: 'OPTIONS',
      url: '/crossfade/poll',
      headers: {
        ...page,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type',
      },
    })
    expect(preflight.headers).toMatchObject({
      'access-control-allow-origin': page.origin,
      'access-control-allow-headers': 'content-type',
    })
    const poll = { method: 'POST', url: '/crossfade/poll', payload: { topics: { 'my-orders': {} } } } as const
    const polled = await app.inject({ ...poll, headers: page })
    expect(polled.json()).toMatchObject({ messages: [{ type: 'subscribed' }, { data: { orgId: 'acme' } }] })
    expect(polled.headers).toMatchObject({ 'access-control-allow-credentials': 'true' })
    expect(await new Reader(origin, 'my-orders', { headers: page }).next()).toMatchObject({ orgId: 'acme' })

    const foreign = await app.inject({ ...poll, headers: { ...page, origin: 'https://evil.example' } })
    expect(foreign.json()).toMatchObject({ code: 'forbidden_origin' })
  })
})

describe('rate-limits-and-hooks.md', () => {
  test('a client is limited, and the loads that its topic needs are not (D15)', async () => {
    const { app, shop, origin } = await serve('rate-limits-and-hooks', 'rate-limited.ts')
    const reader = new Reader(origin, 'orders/42')
    await reader.next()
    for (let count = 0; count < 15; count += 1) {
      const next = reader.next()
      await shop.addItem(`article ${count}`)
      expect(await next).toMatchObject({ items: expect.arrayContaining([`article ${count}`]) })
    }
    const statuses: number[] = []
    for (let count = 0; count < 12; count += 1) statuses.push((await app.inject('/api/orders/42')).statusCode)
    expect(statuses).toContain(429)
  })

  test('a hook tells people from runs', async () => {
    const { folder } = await write('rate-limits-and-hooks')
    const { countVisits } = (await import(/* @vite-ignore */ join(folder, 'hooks.ts'))) as {
      countVisits: (app: FastifyInstance, visits: Map<string, number>) => void
    }
    const app = Fastify()
    open.push(() => app.close())
    const visits = new Map<string, number>()
    countVisits(app, visits)
    await app.register(crossfade)
    let runs = 0
    app.get('/api/now', { config: { crossfade: value('now', { audience: 'public' }) } }, () => ({ runs: (runs += 1) }))
    await app.inject('/api/now')
    await app.inject({ method: 'POST', url: '/crossfade/poll', payload: { topics: { now: {} } } })
    expect(runs).toBe(2)
    expect(visits.get('/api/now')).toBe(1)
  })
})

describe('sessions.md', () => {
  test('loads, checks and sockets leave a rolling session as it is; the page itself and its polls prolong it (D15)', async () => {
    const { app, shop, origin } = await serve('sessions', 'sessions.ts')
    const { folder } = written.at(-1) as Examples
    const { store } = (await import(
      /* @vite-ignore */ join(folder, 'session-store.ts')
    )) as typeof import('./documents/fixture/session-store.ts')
    const login = await app.inject({ method: 'POST', url: '/login', payload: { userId: '7' } })
    const cookie = String(login.headers['set-cookie']).split(';')[0] ?? ''
    const saves = (): number => [...store.saved.values()].reduce((sum, count) => sum + count, 0)

    const before = saves()
    await app.inject({ url: '/api/orders/42', headers: { cookie } })
    expect(saves()).toBe(before + 1)

    const reader = new Reader(origin, 'my-orders/42', { headers: { cookie } })
    expect(await reader.next()).toMatchObject({ items: ['Grinder'] })
    const next = reader.next()
    await shop.addItem('Tamper')
    expect(await next).toMatchObject({ items: ['Grinder', 'Tamper'] })
    await app.crossfade.revoke('7')
    expect(saves()).toBe(before + 1)

    const poll = { method: 'POST', url: '/crossfade/poll', payload: { topics: { 'my-orders/42': {} } } } as const
    expect((await app.inject({ ...poll, headers: { cookie } })).statusCode).toBe(200)
    expect(saves()).toBe(before + 2)
  })
})

test('deploying-with-one-slot.md: the next process is ready while the slot is taken, and pushes when it is free (D18)', async () => {
  const database = await freshDatabase()
  open.push(() => database.drop())
  vi.stubEnv('DATABASE_URL', database.url)
  open.push(() => vi.unstubAllEnvs())
  const processes: FastifyInstance[] = []
  for (let count = 0; count < 2; count += 1) {
    const { folder } = await write('deploying-with-one-slot')
    const path = join(folder, 'deployed.ts')
    const { app } = (await import(/* @vite-ignore */ path)) as { app: FastifyInstance }
    app.log.level = 'silent'
    open.push(() => app.close())
    processes.push(app)
    await app.ready()
    expect((await app.inject('/ready')).json()).toEqual({ ready: true })
  }
  const [first, next] = processes as [FastifyInstance, FastifyInstance]
  const push = async (app: FastifyInstance): Promise<unknown> =>
    (await app.inject('/crossfade/health')).json<{ push: string }>().push
  await expect.poll(() => push(first)).toBe('open')
  expect(await push(next)).toBe('standby')
  await first.close()
  await expect.poll(() => push(next)).toBe('open')
})

describe('feeds.md', () => {
  test('the statements for rows that move let the feed start with the rules, and one rule asks for them', async () => {
    const database = await freshDatabase()
    open.push(() => database.drop())
    const { folder } = await write('../feeds')
    const { rules } = (await import(/* @vite-ignore */ join(folder, 'rules.ts'))) as {
      rules: Record<string, { table: WatchedTable }[]>
    }
    await database.query('CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL)')
    await database.query('CREATE TABLE orders (id integer PRIMARY KEY, org_id text, customer_id integer)')
    await database.query('CREATE TABLE items (id integer PRIMARY KEY, order_id integer NOT NULL, article text)')
    const start = async (): Promise<void> => {
      const feed = postgresReplication({ connectionString: database.url, slot: 'feeds_document' })
      feed.watch?.(Object.values(rules).flatMap((list) => list.map(({ table }) => table)))
      await feed.start(() => Promise.resolve())
      await feed.stop()
    }
    await expect(start()).rejects.toMatchObject({ code: 'feed_replica_identity' })
    const [block] = codeBlocks(read('../feeds')).filter(({ language }) => language === 'sql')
    const [whole, byIndex] = (block?.code ?? '').split('\n\n')
    await database.query(whole ?? '')
    await start()
    await database.query(byIndex ?? '')
    await start()
  })

  test('a feed of your own moves a topic on', async () => {
    const { folder } = await write('../feeds')
    const { OwnFeed } = (await import(/* @vite-ignore */ join(folder, 'own-feed.ts'))) as {
      OwnFeed: new () => ChangeFeed & { changed(changes: readonly RowChange[]): Promise<void> }
    }
    const { rules } = (await import(/* @vite-ignore */ join(folder, 'rules.ts'))) as { rules: { order: ChangeRule[] } }
    const feed = new OwnFeed()
    const app = Fastify({ forceCloseConnections: true })
    open.push(() => app.close())
    await app.register(crossfade, { feed })
    let version = 1
    const topic = { topic: 'orders/:id', audience: 'public', on: rules.order } as const
    app.get('/api/orders/:id', { config: { crossfade: topic } }, () => ({ version }))
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const reader = new Reader(origin, 'orders/42')
    expect(await reader.next()).toEqual({ version: 1 })
    const next = reader.next()
    version = 2
    await feed.changed([{ table: 'public.orders', op: 'insert', before: null, after: { id: 42 } }])
    expect(await next).toEqual({ version: 2 })
  })
})

// The example is a file of tests: what it registers runs here.
describe('testing-an-app.md', async () => {
  const { folder } = await write('testing-an-app')
  await import(/* @vite-ignore */ join(folder, 'orders.test.ts'))
  await import(/* @vite-ignore */ join(folder, 'database.test.ts'))
})
