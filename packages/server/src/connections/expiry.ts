import type { Identity } from '../identity/principal.ts'
import { runLater } from './long-timer.ts'
import type { Outlet } from './outlet.ts'

/**
 * Ends a connection when its credentials run out and no new token arrived.
 *
 * @param graceMs a new token is requested this long before the old one expires, and awaited for the same time after it (R53).
 * @param outlet gets `token_expiring` ahead.
 * @returns cancels it, for when a new token arrives.
 */
export function expireWith(identity: Identity, graceMs: number, outlet: Outlet, expire: () => void): () => void {
  const expiresAt = identity.principal?.expiresAt
  if (expiresAt === undefined) return () => {}
  const leftMs = expiresAt - Date.now()
  // A token that lives shorter than this is replaced half-way through its life, not again and again right after it was issued.
  const askMs = Math.max(leftMs - graceMs, leftMs / 2)
  const cancelAsk = runLater(
    () => outlet.send({ type: 'error', code: 'token_expiring', message: 'Your token expires soon. Send a new one.' }),
    askMs,
  )
  const cancelEnd = runLater(expire, leftMs + graceMs)
  return () => {
    cancelAsk()
    cancelEnd()
  }
}
