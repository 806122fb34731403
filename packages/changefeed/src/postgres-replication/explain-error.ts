import { CrossfadeError } from '@crossfade/protocol'

/** Codes of PostgreSQL (manual, "PostgreSQL Error Codes"). */
export const objectInUse = '55006'
const forbidden = new Set(['42501', '28000', '28P01'])
const noneLeft = new Set(['53400', '53300'])

/** What PostgreSQL and the network say, in words that name the way out. */
export function explainError(
  error: unknown,
  { connectionString, slot }: { connectionString: string; slot: string },
): CrossfadeError {
  if (error instanceof CrossfadeError) return error
  const { code, message } = error as { code?: string; message?: string }
  const cause = { cause: error }
  if (code === objectInUse) {
    return new CrossfadeError(
      'feed_slot_in_use',
      `Another process follows the replication slot "${slot}" (${message}). Stop it, or give this one another slot; two processes that share one feed need a shared broker.`,
      cause,
    )
  }
  if (code !== undefined && forbidden.has(code)) {
    return new CrossfadeError(
      'feed_forbidden',
      `The database refuses the feed: ${message}. Check the user and password, and that the role has REPLICATION.`,
      cause,
    )
  }
  if (code !== undefined && noneLeft.has(code)) {
    return new CrossfadeError(
      'feed_unavailable',
      `The database has no replication slot or connection left: ${message}. Drop slots that nobody reads, or raise max_replication_slots and max_wal_senders.`,
      cause,
    )
  }
  return new CrossfadeError(
    'feed_unavailable',
    `The database at ${hostOf(connectionString)} cannot be followed: ${message ?? String(error)}. Check that it runs and that the connection is direct, not through a pooler.`,
    cause,
  )
}

/** Never the password. */
function hostOf(connectionString: string): string {
  try {
    const url = new URL(connectionString)
    return `${url.host}${url.pathname}`
  } catch {
    return 'the given connection string'
  }
}
