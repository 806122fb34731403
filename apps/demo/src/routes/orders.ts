import { changes } from '@crossfade/changefeed/drizzle'
import { asc, eq, ne, sql } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import type { Database } from '../database.ts'
import { problem } from '../problem.ts'
import { orders } from '../schema.ts'
import { idParams } from './id-params.ts'

/** The order board and the order page. */
export function registerOrders(app: FastifyInstance, database: Database): void {
  app.get(
    '/api/orders',
    { config: { crossfade: { topic: 'orders', feature: 'order-board', audience: 'public', on: [changes(orders)] } } },
    async () => ({
      orders: await database.select().from(orders).where(ne(orders.status, 'done')).orderBy(asc(orders.id)),
    }),
  )

  app.get<{ Params: { id: number } }>(
    '/api/orders/:id',
    {
      schema: { params: idParams },
      config: {
        crossfade: {
          topic: 'orders/:id',
          feature: 'order-page',
          audience: 'public',
          on: [changes(orders, (order) => ({ id: order.id }))],
        },
      },
    },
    async (request, reply) => {
      const [order] = await database.select().from(orders).where(eq(orders.id, request.params.id))
      return order ?? problem(reply, 404, `There is no order ${request.params.id}.`)
    },
  )

  app.post<{ Body: { item: string; quantity: number } }>(
    '/api/orders',
    {
      schema: {
        body: {
          type: 'object',
          required: ['item', 'quantity'],
          properties: {
            item: { type: 'string', minLength: 1, maxLength: 200 },
            quantity: { type: 'integer', minimum: 1, maximum: 1_000_000 },
          },
        },
      },
    },
    async (request, reply) => {
      const { item, quantity } = request.body
      const [order] = await database.insert(orders).values({ item, quantity }).returning()
      return reply.code(201).send(order)
    },
  )

  app.patch<{ Params: { id: number }; Body: { status: string } }>(
    '/api/orders/:id',
    {
      schema: {
        params: idParams,
        body: {
          type: 'object',
          required: ['status'],
          properties: { status: { type: 'string', minLength: 1, maxLength: 60 } },
        },
      },
    },
    async (request, reply) => {
      const [order] = await database
        .update(orders)
        .set({ status: request.body.status, version: sql`${orders.version} + 1`, updatedAt: sql`now()` })
        .where(eq(orders.id, request.params.id))
        .returning()
      return order ?? problem(reply, 404, `There is no order ${request.params.id}.`)
    },
  )
}
