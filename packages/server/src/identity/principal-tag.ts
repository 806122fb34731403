import { createHash } from 'node:crypto'
import type { Principal } from './principal.ts'

/**
 * An opaque tag of the principal, the same from every process: `for` in `hello` and in the header of an answer that is not public, by which a
 * page notices that the account has changed (R10).
 */
export function principalTag({ id }: Principal): string {
  return createHash('sha256').update(`crossfade:${id}`).digest('base64url').slice(0, 16)
}
