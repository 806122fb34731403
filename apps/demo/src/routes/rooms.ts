import { inserts, rewrites } from '@crossfade/changefeed/drizzle'
import { and, asc, desc, eq, gt } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import type { Database } from '../database.ts'
import { requireUser } from '../identity.ts'
import { messages } from '../schema.ts'

const room = { type: 'string', minLength: 1, maxLength: 60 } as const

/** A message as the endpoint lists it, and as its event carries it. */
function messageItem({ id, author, text, at }: typeof messages.$inferSelect): {
  id: number
  author: string
  text: string
  at: Date
} {
  return { id, author, text, at }
}

/** Chat rooms. */
export function registerRooms(app: FastifyInstance, database: Database): void {
  app.get<{ Params: { room: string }; Querystring: { after?: number; limit: number } }>(
    '/api/rooms/:room/messages',
    {
      onRequest: requireUser,
      schema: {
        params: { type: 'object', properties: { room } },
        querystring: {
          type: 'object',
          properties: {
            after: { type: 'integer', minimum: 0, maximum: 2_147_483_647 },
            limit: { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
          },
        },
      },
      config: {
        crossfade: {
          log: 'rooms/:room/messages',
          key: 'id',
          event: 'message',
          feature: 'chat',
          paging: ['after', 'limit'],
          on: [
            inserts(messages, (message) => ({ room: message.room }), { data: messageItem }),
            rewrites(messages, (message) => ({ room: message.room })),
          ],
        },
      },
    },
    async (request) => {
      const { after, limit } = request.query
      const here = eq(messages.room, request.params.room)
      const rows =
        after === undefined
          ? (await database.select().from(messages).where(here).orderBy(desc(messages.id)).limit(limit)).toReversed()
          : await database
              .select()
              .from(messages)
              .where(and(here, gt(messages.id, after)))
              .orderBy(asc(messages.id))
              .limit(limit)
      return { messages: rows.map(messageItem) }
    },
  )

  app.post<{ Params: { room: string }; Body: { text: string } }>(
    '/api/rooms/:room/messages',
    {
      onRequest: requireUser,
      schema: {
        params: { type: 'object', properties: { room } },
        body: {
          type: 'object',
          required: ['text'],
          properties: { text: { type: 'string', minLength: 1, maxLength: 4000 } },
        },
      },
    },
    async (request, reply) => {
      const author = request.user?.name ?? ''
      const [message] = await database
        .insert(messages)
        .values({ room: request.params.room, author, text: request.body.text })
        .returning()
      return message === undefined ? reply.code(500).send() : reply.code(201).send(messageItem(message))
    },
  )
}
