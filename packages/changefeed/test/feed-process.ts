import { postgresReplication } from '../src/postgres-replication.ts'
import { things } from './feed-bench.ts'

// A feed in a separate process, so that a test can kill it: it prints its states, and the id of each row.
const [connectionString = '', slot = ''] = process.argv.slice(2)
const feed = postgresReplication({ connectionString, slot })
feed.watch?.([things])
feed.onState?.((state) => console.log(state))
await feed.start(
  (batch) => {
    for (const { after } of batch.changes) console.log(`row ${String(after?.['id'])}`)
    return Promise.resolve()
  },
  { standby: true },
)
