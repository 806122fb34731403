import { parseArgs } from 'node:util'
import { startEmbeddedPostgres } from '@crossfade/testkit/embedded-postgres'
import { runRollingDeploy } from '../rolling/run-rolling-deploy.ts'
import type { Check } from './checks.ts'

/** Two processes on one slot: the next is ready while the first one serves, and takes over when that one ends (D18). */
export const rollingDeploy: Check = {
  name: 'rolling-deploy',
  usage: '[--rounds 6] [--seed N] [--pages 3]',
  about:
    'Replaces the serving process again and again under load, every third time by kill -9, behind a load balancer; judges what pages on WebSocket, SSE and long poll showed, and measures the takeover.',
  async run(args) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        rounds: { type: 'string', default: '6' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        pages: { type: 'string', default: '3' },
      },
    })
    console.log(`rolling-deploy: seed ${values.seed}, ${values.rounds} rounds`)
    const postgres = await startEmbeddedPostgres({ flags: ['-c', 'wal_level=logical'] })
    try {
      const result = await runRollingDeploy({
        databaseUrl: postgres.url,
        seed: Number(values.seed),
        signals: Array.from({ length: Number(values.rounds) }, (_, n) => (n % 3 === 2 ? 'SIGKILL' : 'SIGTERM')),
        boundMs: 5_000,
        pagesPerTransport: Number(values.pages),
        log: console.log,
      })
      const ms = (value: number): string => `${value.toFixed(0)} ms`
      console.log(
        `${result.committed} changes committed; longest takeover ${ms(result.longestTakeoverMs)}, longest time without push ${ms(result.longestGapMs)}, longest way from commit to page ${ms(result.longestDelayMs)}`,
      )
      for (const violation of result.violations.slice(0, 20)) console.log(`  ${violation}`)
      return result.violations.length
    } finally {
      await postgres.stop()
    }
  },
}
