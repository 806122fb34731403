import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import pg from 'pg'

export type Database = NodePgDatabase & { $client: pg.Pool }

/** Opens the product's database. */
export function openDatabase(url: string): Database {
  const pool = new pg.Pool({ connectionString: url, max: 10 })
  // A database that restarts must not end the product.
  pool.on('error', () => {})
  return drizzle(pool)
}
