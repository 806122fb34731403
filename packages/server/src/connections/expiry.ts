import type { Identity } from '../identity/principal.ts'
import { runLater } from './long-timer.ts'
import type { Outlet } from './outlet.ts'

/**
 * Ends a connection when its credentials run out and no new token arrived.
 *
 * @param graceMs a new token is asked for this long before the old one runs out, and waited for as long after it (R53).
 * @param outlet gets `token_expiring` ahead.
 * @returns what cancels it, as a new token does.
 */
export function expireWith(identity: Identity, graceMs: number, outlet: Outlet, expire: () => void): () => void {
  const expiresAt = identity.principal?.expiresAt
  if (expiresAt === undefined) return () => {}
  const leftMs = expiresAt - Date.now()
  // Tokens that live shorter than the time ahead are asked for in the middle of their lives, not again and again at their beginning.
  const askMs = Math.max(leftMs - graceMs, leftMs / 2)
  const cancelAsk = runLater(
    () => outlet.send({ type: 'error', code: 'token_expiring', message: 'Your token runs out soon. Send a new one.' }),
    askMs,
  )
  const cancelEnd = runLater(expire, leftMs + graceMs)
  return () => {
    cancelAsk()
    cancelEnd()
  }
}
