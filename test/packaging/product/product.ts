import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import pg from 'pg'

export { feed } from './feed.ts'

/** The product that README.md's example wraps, on a database. */
export const orders = pgTable('orders', { id: integer('id').primaryKey(), status: text('status').notNull() })

interface Order {
  readonly id: number
  readonly status: string
}

export const pool: pg.Pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'] })

await pool.query('CREATE TABLE orders (id integer PRIMARY KEY, status text NOT NULL)')
await pool.query(`INSERT INTO orders VALUES (42, 'new')`)

export async function findOrder(id: string): Promise<Order> {
  const { rows } = await pool.query<Order>('SELECT id, status FROM orders WHERE id = $1', [id])
  if (rows[0] === undefined) throw Object.assign(new Error('There is no such order.'), { statusCode: 404 })
  return rows[0]
}
