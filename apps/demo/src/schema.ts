import { doublePrecision, integer, pgTable, text, timestamp } from 'drizzle-orm/pg-core'

const id = () => integer().primaryKey().generatedByDefaultAsIdentity()
const time = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' }).notNull().defaultNow()

/** Who has logged in: the same name is the same user. */
export const users = pgTable('users', { id: id(), name: text().notNull().unique() })

export const orders = pgTable('orders', {
  id: id(),
  item: text().notNull(),
  quantity: integer().notNull(),
  status: text().notNull().default('new'),
  /** Grows by 1 on each change. */
  version: integer().notNull().default(1),
  updatedAt: time('updated_at'),
})

export const notifications = pgTable('notifications', {
  id: id(),
  userId: integer('user_id').notNull(),
  text: text().notNull(),
  readAt: timestamp('read_at', { withTimezone: true, mode: 'date' }),
  createdAt: time('created_at'),
})

export const messages = pgTable('messages', {
  id: id(),
  room: text().notNull(),
  author: text().notNull(),
  text: text().notNull(),
  at: time('at'),
})

export const prices = pgTable('prices', { symbol: text().primaryKey(), price: doublePrecision().notNull() })
