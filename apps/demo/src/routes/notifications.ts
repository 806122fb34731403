import { changes } from '@crossfade/changefeed/drizzle'
import { and, count, desc, eq, isNull, sql } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import type { Database } from '../database.ts'
import { requireUser } from '../identity.ts'
import { notifications } from '../schema.ts'
import { idParams } from './id-params.ts'

/** The badge: what is unread, and the latest. */
export function registerNotifications(app: FastifyInstance, database: Database): void {
  app.get(
    '/api/notifications',
    {
      onRequest: requireUser,
      config: {
        crossfade: {
          topic: 'users/:userId/notifications',
          feature: 'notifications',
          params: (request) => ({ userId: request.user?.id ?? '' }),
          on: [changes(notifications, (notification) => ({ userId: notification.userId }))],
        },
      },
    },
    async (request) => {
      const userId = request.user?.id ?? 0
      const mine = eq(notifications.userId, userId)
      const [unread] = await database
        .select({ count: count() })
        .from(notifications)
        .where(and(mine, isNull(notifications.readAt)))
      const { id, text, readAt, createdAt } = notifications
      const latest = await database
        .select({ id, text, readAt, createdAt })
        .from(notifications)
        .where(mine)
        .orderBy(desc(id))
        .limit(10)
      return { unread: unread?.count ?? 0, latest }
    },
  )

  app.post<{ Params: { id: number } }>(
    '/api/notifications/:id/read',
    { onRequest: requireUser, schema: { params: idParams } },
    async (request, reply) => {
      await database
        .update(notifications)
        .set({ readAt: sql`now()` })
        .where(
          and(
            eq(notifications.id, request.params.id),
            eq(notifications.userId, request.user?.id ?? 0),
            isNull(notifications.readAt),
          ),
        )
      return reply.code(204).send()
    },
  )
}
