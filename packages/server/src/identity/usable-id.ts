import { CrossfadeError } from '@crossfade/protocol'
import { shown } from '../configuration/check.ts'
import { isMadeOfNothing } from '../configuration/made-of-nothing.ts'
import type { Principal } from './principal.ts'

/**
 * Checks that a principal can be told from all others: those without an id of their own would read each other's answers.
 *
 * @throws CrossfadeError `server_error` when the id is missing, empty, or was made of something that is missing.
 */
export function requireUsableId(principal: Principal): void {
  const id: unknown = principal.id
  const isUsable = typeof id === 'string' ? id.trim() !== '' && !isMadeOfNothing(id) : Number.isFinite(id)
  if (isUsable) return
  throw new CrossfadeError(
    'server_error',
    `authenticate gave a principal with the id ${shown(id)}. Give it the id of its account as a string that is not empty, or null if nobody is logged in. It has ${Object.keys(principal).join(', ')}.`,
  )
}
