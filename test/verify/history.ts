import { parseArgs } from 'node:util'
import { startEmbeddedPostgres } from '@crossfade/testkit/embedded-postgres'
import { runHistory } from '../history/run-history.ts'
import type { Check } from './checks.ts'

/** The promise under faults: nothing lost, nothing twice, in order, last value right. */
export const history: Check = {
  name: 'history',
  usage: '[--minutes 2] [--seed N] [--changes 10000] [--clients 1] [--restarts 2]',
  about:
    'Commits numbered changes while sockets are killed, transports blocked and the server restarted at random, and judges what every client showed on WebSocket, SSE, long and short poll.',
  async run(args) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        minutes: { type: 'string', default: '2' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        changes: { type: 'string', default: '10000' },
        clients: { type: 'string', default: '1' },
        restarts: { type: 'string', default: '2' },
      },
    })
    console.log(`history: seed ${values.seed}, ${values.changes} changes over ${values.minutes} min`)
    const postgres = await startEmbeddedPostgres({ flags: ['-c', 'wal_level=logical'] })
    try {
      const result = await runHistory({
        databaseUrl: postgres.url,
        seed: Number(values.seed),
        changes: Number(values.changes),
        clientsPerTransport: Number(values.clients),
        restarts: Number(values.restarts),
        durationMs: Number(values.minutes) * 60_000,
        log: console.log,
      })
      console.log(
        `${result.committed} changes committed, ${result.shown} shown; ${result.kills} kills, ${result.switches} transport switches, ${result.restarts} restarts`,
      )
      for (const { rule, client, topic, detail } of result.violations.slice(0, 20))
        console.log(`  ${rule}: ${client} ${topic}: ${detail}`)
      return result.violations.length
    } finally {
      await postgres.stop()
    }
  },
}
