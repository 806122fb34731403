/** Says what to do about a database that the demo cannot use: which setting, and the fix. Other errors stay as they are. */
export function explain(error: unknown, databaseUrl: string): unknown {
  if (!(error instanceof Error)) return error
  const { hostname, port, pathname, username } = partsOf(databaseUrl)
  const code = (error as { code?: string }).code ?? (error.cause as { code?: string } | undefined)?.code ?? ''
  const fix = fixes(username, pathname.slice(1))[code]
  return fix === undefined
    ? error
    : new Error(`the database of DATABASE_URL (${hostname}:${port || 5432}) says: ${wordsOf(error)}. ${fix}`, {
        cause: error,
      })
}

/** By the code of Node or of PostgreSQL (appendix A of its manual). */
function fixes(user: string, database: string): Record<string, string> {
  const reach =
    'Check host and port in DATABASE_URL and that the server runs, or unset it: the demo then brings its own.'
  return {
    ECONNREFUSED: reach,
    ENOTFOUND: reach,
    EAI_AGAIN: reach,
    ETIMEDOUT: reach,
    ECONNRESET: reach,
    '28P01': 'Check user and password in DATABASE_URL.',
    '28000': 'Check user and password in DATABASE_URL, and pg_hba.conf of the server.',
    '3D000': `Create it, CREATE DATABASE ${database}, or correct DATABASE_URL.`,
    '42501': `As its owner or a superuser run: GRANT CREATE ON DATABASE ${database} TO ${user}; GRANT CREATE ON SCHEMA public TO ${user}; and let ${user} own the demo's tables if they are there already.`,
  }
}

/** Several addresses of one name fail with one error each. */
function wordsOf(error: Error): string {
  return error instanceof AggregateError && error.message === ''
    ? String((error.errors as unknown[])[0])
    : error.message
}

function partsOf(databaseUrl: string): URL {
  const url = URL.canParse(databaseUrl) ? new URL(databaseUrl) : null
  if (url !== null && /^postgres(ql)?:$/.test(url.protocol)) return url
  // A text with an @ may contain a password.
  const got = databaseUrl.includes('@') ? '' : `, got "${databaseUrl}"`
  throw new Error(`DATABASE_URL must look like postgres://user:password@host:5432/database${got}.`)
}
