import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { changes } from '@crossfade/changefeed/drizzle'
import { postgresReplication } from '@crossfade/changefeed/postgres-replication'
import { parseHeader } from '@crossfade/protocol'
import crossfade from '@crossfade/server'
import { freePort, startEmbeddedPostgres, type EmbeddedPostgres } from '@crossfade/testkit/embedded-postgres'
import { integer, pgTable } from 'drizzle-orm/pg-core'
import Fastify, { type FastifyInstance } from 'fastify'
import pg from 'pg'
import { afterEach, describe, expect, it } from 'vitest'
import { freshDatabase } from './database.ts'

const items = pgTable('items', { id: integer().primaryKey(), version: integer().notNull() })
const createItems = 'CREATE TABLE items (id integer PRIMARY KEY, version integer NOT NULL)'
const silent = { info: () => {}, warn: () => {}, error: () => {} }
const patiently = { timeout: 40_000, interval: 50 }

let app: FastifyInstance | null = null
let postgres: EmbeddedPostgres | null = null
afterEach(async () => {
  await app?.close()
  await postgres?.stop()
  app = null
  postgres = null
})

/** A product on this database, whose route answers without it. */
async function product(connectionString: string, slot = 'feed_start'): Promise<FastifyInstance> {
  app = Fastify()
  await app.register(crossfade, {
    feed: postgresReplication({ connectionString, slot, logger: silent }),
    rollout: { item: { stage: 'push' } },
    operator: () => true,
  })
  const block = {
    topic: 'items/:id',
    feature: 'item',
    audience: 'public' as const,
    on: [changes(items, ({ id }) => ({ id }))],
  }
  app.get<{ Params: { id: string } }>('/items/:id', { config: { crossfade: block } }, ({ params }) => ({
    id: params.id,
  }))
  await app.ready()
  return app
}

async function stageOf(server: FastifyInstance): Promise<string | undefined> {
  const { statusCode, headers } = await server.inject('/items/1')
  expect(statusCode).toBe(200)
  return parseHeader(String(headers['crossfade']))?.stage
}

const lastError = async (server: FastifyInstance): Promise<string> =>
  (await server.inject('/crossfade/health')).json().feed.lastError

async function query(url: string, sql: string): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  await client.query(sql)
  await client.end()
}

describe('a product whose database fails its feed at the start (D17)', () => {
  it('serves while the database is down, and pushes when it is up', async () => {
    const port = await freePort()
    const server = await product(`postgres://postgres:postgres@127.0.0.1:${port}/postgres`)
    expect(await stageOf(server)).toBe('off')
    expect(await lastError(server)).toContain('ECONNREFUSED')
    postgres = await startEmbeddedPostgres({ port, flags: ['-c', 'wal_level=logical'] })
    // What is wrong next is told in its turn.
    await expect.poll(() => lastError(server), patiently).toContain('no table public.items')
    await query(postgres.url, createItems)
    await expect.poll(() => stageOf(server), patiently).toBe('push')
  })

  it('serves while the database takes connections and says nothing', async () => {
    const sockets = new Set<Socket>()
    const hanging: Server = createServer((socket) => sockets.add(socket)).listen(0, '127.0.0.1')
    await once(hanging, 'listening')
    const server = await product(`postgres://me:secret@127.0.0.1:${(hanging.address() as AddressInfo).port}/shop`)
    expect((await server.inject('/items/1')).statusCode).toBe(200)
    expect((await server.inject('/crossfade/health')).json()).toMatchObject({ ok: true, push: 'starting' })
    await server.close()
    app = null
    for (const socket of sockets) socket.destroy()
    hanging.close()
  })

  it('serves while a table lacks what routes its rows, and pushes when the script of the message was run', async () => {
    const database = await freshDatabase()
    await database.query('CREATE TABLE items (id integer, version integer NOT NULL)')
    const slot = `s_${new URL(database.url).pathname.slice(6)}`
    const server = await product(database.url, slot)
    expect(await stageOf(server)).toBe('off')
    const [statement] = /ALTER TABLE \S+ REPLICA IDENTITY FULL/.exec(await lastError(server)) ?? ['']
    await database.query(statement)
    await expect.poll(() => stageOf(server), patiently).toBe('push')
    await server.close()
    app = null
    await database.drop()
  })

  it('serves while the server has no logical replication, and says which setting it needs', async () => {
    postgres = await startEmbeddedPostgres({ flags: ['-c', 'wal_level=replica'] })
    await query(postgres.url, createItems)
    const server = await product(postgres.url)
    expect(await stageOf(server)).toBe('off')
    expect(await lastError(server)).toContain('wal_level = logical')
  })

  it('goes to off when its database is away for long, and comes back with it', async () => {
    postgres = await startEmbeddedPostgres({ flags: ['-c', 'wal_level=logical'] })
    const { port, url } = postgres
    await query(url, createItems)
    const server = await product(url)
    expect(await stageOf(server)).toBe('push')
    await postgres.stop()
    await expect.poll(() => stageOf(server), patiently).toBe('off')
    postgres = await startEmbeddedPostgres({ port, flags: ['-c', 'wal_level=logical'] })
    await query(postgres.url, createItems)
    await expect.poll(() => stageOf(server), patiently).toBe('push')
  })
})
