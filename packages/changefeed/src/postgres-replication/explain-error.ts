import { CrossfadeError } from '@crossfade/protocol'
import { locationOf, withoutPassword } from './connection-string.ts'
import { slotInUse } from './slot-claim.ts'

/** Codes of PostgreSQL (manual, "PostgreSQL Error Codes"). */
const objectInUse = '55006'
const forbidden = new Set(['42501', '28000', '28P01'])
const noneLeft = new Set(['53400', '53300'])

/** Errors of PostgreSQL and the network, with a remedy. Never with the password. */
export function explainError(
  error: unknown,
  { connectionString, slot }: { connectionString: string; slot: string },
): CrossfadeError {
  if (error instanceof CrossfadeError) return error
  const { code } = error as { code?: string }
  const said = withoutPassword(wordsOf(error), connectionString)
  const cause = { cause: error }
  if (code === objectInUse) return slotInUse(slot, said, error)
  if (code !== undefined && forbidden.has(code)) {
    return new CrossfadeError(
      'feed_forbidden',
      `The database refuses the feed: ${said}. Check the user and password, and that the role has REPLICATION.`,
      cause,
    )
  }
  if (code !== undefined && noneLeft.has(code)) {
    return new CrossfadeError(
      'feed_unavailable',
      `The database has no replication slot or connection left: ${said}. Drop slots that nobody reads, or raise max_replication_slots and max_wal_senders.`,
      cause,
    )
  }
  return new CrossfadeError(
    'feed_unavailable',
    `The database at ${locationOf(connectionString)} cannot be followed: ${said}. Check that it runs and that the connection is direct, not through a pooler.`,
    cause,
  )
}

/** A name with several addresses fails with one error for each, and no message of its own. */
function wordsOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map((one) => wordsOf(one)).join('; ')
  return error instanceof Error ? error.message : String(error)
}
