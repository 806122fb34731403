import { expect, it } from 'vitest'
import { freshDatabase } from './database.ts'
import { runHistory } from './history/run-history.ts'

it('loses, repeats and disorders nothing on any transport, through kills, switches and restarts (R2–R8, D1, F13)', async () => {
  const seed = Number(process.env['HISTORY_SEED'] ?? Date.now() % 1_000_000)
  const database = await freshDatabase()
  const result = await runHistory({
    databaseUrl: database.url,
    seed,
    changes: 800,
    clientsPerTransport: 1,
    restarts: 2,
    durationMs: 12_000,
    log: () => {},
  })
  await database.drop()
  expect(result.violations, `seed ${seed}`).toEqual([])
  expect(result.committed).toBeGreaterThanOrEqual(800)
  expect(result.restarts).toBe(2)
}, 150_000)
