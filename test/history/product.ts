import { changes, inserts } from '@crossfade/changefeed/drizzle'
import { postgresReplication } from '@crossfade/changefeed/postgres-replication'
import crossfade from '@crossfade/server'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import Fastify, { type FastifyInstance } from 'fastify'
import pg from 'pg'

/** A counter that writers increment: the value topic `items/:id`. */
export const items = pgTable('items', { id: integer().primaryKey(), version: integer().notNull() })

/** A numbered entry of a log: the log topic `logs/:log`. */
export const entries = pgTable('entries', {
  id: integer().primaryKey().generatedAlwaysAsIdentity(),
  log: text().notNull(),
  n: integer().notNull(),
})

/** The tables of the checker's product; `logs` gives each log its numbers in commit order, by its row lock. */
export const tables = `
  CREATE TABLE items (id integer PRIMARY KEY, version integer NOT NULL);
  CREATE TABLE logs (log text PRIMARY KEY, n integer NOT NULL);
  CREATE TABLE entries (id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY, log text NOT NULL, n integer NOT NULL);
`

/** The product that the history checker judges: a counter and a log, as endpoints and as topics. */
export async function openProduct(databaseUrl: string): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true })
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 4 })
  // A database that restarts under the pool is part of the exercise.
  pool.on('error', () => {})
  app.addHook('onClose', () => pool.end())
  await app.register(crossfade, {
    feed: postgresReplication({ connectionString: databaseUrl, slot: 'history' }),
    rollout: { item: { stage: 'push' }, log: { stage: 'push' } },
    limits: { maxConnectionsPerAddress: 5_000, messagesPerSecond: 10_000, messageBurst: 10_000 },
  })
  app.get<{ Params: { id: string } }>(
    '/api/items/:id',
    {
      config: {
        crossfade: {
          topic: 'items/:id',
          feature: 'item',
          audience: 'public',
          on: [changes(items, (item) => ({ id: item.id }))],
        },
      },
    },
    async (request, reply) => {
      const { rows } = await pool.query('SELECT id, version FROM items WHERE id = $1', [Number(request.params.id)])
      return rows[0] ?? reply.code(404).send({ error: 'none' })
    },
  )
  app.get<{ Params: { log: string } }>(
    '/api/logs/:log',
    {
      config: {
        crossfade: {
          log: 'logs/:log',
          feature: 'log',
          key: 'n',
          event: 'entry',
          on: [inserts(entries, (entry) => ({ log: entry.log }), { data: (entry) => ({ n: entry.n }) })],
        },
      },
    },
    async (request) => {
      const { rows } = await pool.query('SELECT n FROM entries WHERE log = $1 ORDER BY n', [request.params.log])
      return { entries: rows as { n: number }[] }
    },
  )
  return app
}
