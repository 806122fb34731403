import { CrossfadeError } from '@crossfade/protocol'

const remedy =
  'Give one such as postgres://user:password@host:5432/database; characters such as @ / ? # in user or password are written as %40 %2F %3F %23.'

/**
 * Refuses what cannot be a connection string, before the PostgreSQL client quotes it in its own error.
 *
 * @throws CrossfadeError `invalid_options`, without the value: it may hold a password.
 */
export function requireConnectionString(text: unknown): void {
  if (typeof text !== 'string' || text === '') {
    throw new CrossfadeError('invalid_options', `connectionString is ${text === '' ? 'empty' : typeof text}. ${remedy}`)
  }
  // A socket's folder, or settings as libpq takes them.
  if (!text.includes('://')) return
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !/^(?:postgres|postgresql|socket):$/.test(url.protocol) || isCutInPassword(url)) {
    throw new CrossfadeError('invalid_options', `connectionString is not the URL of a PostgreSQL database. ${remedy}`)
  }
}

/** A password with `/`, `?` or `#` ends the host's part early, and what follows would be taken for the database's name. */
function isCutInPassword({ username, pathname, search, hash }: URL): boolean {
  return pathname.includes('@') || hash.includes('@') || (username === '' && search.includes('@'))
}

/** Where the database is, without user and password. */
export function locationOf(connectionString: string): string {
  if (!URL.canParse(connectionString)) return 'the given connection string'
  const { host, pathname } = new URL(connectionString)
  return `${host}${pathname}`
}

/** The text without the connection string's password, should an error have quoted it. */
export function withoutPassword(text: string, connectionString: string): string {
  if (!URL.canParse(connectionString)) return text.replaceAll(connectionString, 'the given connection string')
  const { password } = new URL(connectionString)
  const whole = text.replaceAll(connectionString, locationOf(connectionString))
  return password === '' ? whole : whole.replaceAll(`:${password}@`, ':***@')
}
