import { changes } from '@crossfade/changefeed/drizzle'
import { asc } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import type { Database } from '../database.ts'
import { prices } from '../schema.ts'

/** The price ticker: changes many times a second. */
export function registerPrices(app: FastifyInstance, database: Database): void {
  app.get(
    '/api/prices',
    {
      config: {
        crossfade: { topic: 'prices', feature: 'prices', audience: 'public', maxRate: 10, on: [changes(prices)] },
      },
    },
    async () => {
      const rows = await database.select().from(prices).orderBy(asc(prices.symbol))
      return { prices: Object.fromEntries(rows.map(({ symbol, price }) => [symbol, price])) }
    },
  )
}
