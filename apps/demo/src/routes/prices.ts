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
        // At most 10 a second arrive, however the times between two of them vary on their way.
        crossfade: { topic: 'prices', feature: 'prices', audience: 'public', maxRate: 9, on: [changes(prices)] },
      },
    },
    async () => {
      const rows = await database.select().from(prices).orderBy(asc(prices.symbol))
      return { prices: Object.fromEntries(rows.map(({ symbol, price }) => [symbol, price])) }
    },
  )
}
