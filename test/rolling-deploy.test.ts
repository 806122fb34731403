import { expect, it } from 'vitest'
import { freshDatabase } from './database.ts'
import { runRollingDeploy } from './rolling/run-rolling-deploy.ts'

it('a process that stands by takes over from one that is drained and from one that is killed: nothing lost, nothing twice, no page flaps (D18, R60, R62)', async () => {
  const seed = Number(process.env['ROLLING_SEED'] ?? Date.now() % 1_000_000)
  const database = await freshDatabase()
  const result = await runRollingDeploy({
    databaseUrl: database.url,
    seed,
    signals: ['SIGTERM', 'SIGKILL'],
    // A busy machine decides nothing here; `npm run verify -- rolling-deploy` measures.
    boundMs: 30_000,
    pagesPerTransport: 2,
    log: () => {},
  })
  await database.drop()
  expect(result.violations, `seed ${seed}`).toEqual([])
  expect(result.committed).toBeGreaterThan(100)
}, 150_000)
