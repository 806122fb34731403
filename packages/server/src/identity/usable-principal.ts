import { CrossfadeError } from '@crossfade/protocol'
import { shown } from '../configuration/check.ts'
import { looksMissing } from '../configuration/missing-value.ts'
import type { Principal } from './principal.ts'

/** No credentials expire before this, ms since 1970; a time that was given in seconds does. */
const earliestExpiry = Date.UTC(2000, 0, 1)

/**
 * Checks that a principal can be distinguished from all others, since principals without their own id would read each other's answers, and that its
 * expiry is a time that can be compared: one that cannot would mean never.
 *
 * @throws CrossfadeError `server_error`, whose cause says what is wrong; clients are not told.
 */
export function requireUsable(principal: Principal): void {
  const problem = idProblem(principal.id) ?? expiryProblem(principal.expiresAt)
  if (problem === null) return
  const detail = `authenticate gave a principal ${problem} It has ${Object.keys(principal).join(', ')}.`
  throw new CrossfadeError(
    'server_error',
    'The server cannot identify its clients; its log says why. Try again later.',
    {
      cause: new Error(detail),
    },
  )
}

function idProblem(id: unknown): string | null {
  const isUsable = typeof id === 'string' ? id.trim() !== '' && !looksMissing(id) : Number.isFinite(id)
  if (isUsable) return null
  return `with the id ${shown(id)}. Give it the id of its account as a string that is not empty, or give null if nobody is logged in.`
}

function expiryProblem(expiresAt: unknown): string | null {
  if (expiresAt === undefined) return null
  if (typeof expiresAt !== 'number' || Number.isNaN(expiresAt))
    return `with expiresAt ${shown(expiresAt)}. Give it in milliseconds since 1970 as a number, or leave it out if the credentials do not expire.`
  if (expiresAt >= earliestExpiry) return null
  return `with expiresAt ${expiresAt}, which looks like seconds. It must be in milliseconds since 1970: multiply the exp of a token by 1000.`
}
