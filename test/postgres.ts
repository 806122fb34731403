import { startEmbeddedPostgres } from '@crossfade/testkit/embedded-postgres'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    /** Connection string of a superuser of the PostgreSQL that all integration tests share. */
    postgresUrl: string
  }
}

/** One PostgreSQL for all integration tests: that of `DATABASE_URL` (it needs `wal_level=logical`), else an embedded one. */
export default async function postgres(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env['DATABASE_URL']
  if (given !== undefined && given !== '') {
    project.provide('postgresUrl', given)
    return undefined
  }
  const server = await startEmbeddedPostgres()
  project.provide('postgresUrl', server.url)
  return () => server.stop()
}
