import { startEmbeddedPostgres } from '@crossfade/testkit/embedded-postgres'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  export interface ProvidedContext {
    postgresUrl: string
  }
}

const flags = {
  wal_level: 'logical',
  max_wal_senders: 60,
  max_replication_slots: 60,
  max_connections: 200,
  fsync: 'off',
}

/** One PostgreSQL for all tests; each takes a database of its own. `DATABASE_URL` replaces it. */
export default async function setUpPostgres(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env['DATABASE_URL']
  if (given !== undefined) {
    project.provide('postgresUrl', given)
    return () => Promise.resolve()
  }
  const postgres = await startEmbeddedPostgres({
    flags: Object.entries(flags).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  })
  project.provide('postgresUrl', postgres.url)
  return () => postgres.stop()
}
