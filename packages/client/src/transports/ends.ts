import type { EndReason, TransportEnd } from './transport.ts'

// The close codes of PROTOCOL §6 that are more than "come back": after a fresh token, and not at all.
const refreshing = new Set([4401, 4440])
const final = new Set([1003, 1009, 4400, 4403, 4406, 4431])

/** What a close code or a `bye` means. */
export function endOf({ code, retry }: { code: number; retry: number | null }): TransportEnd {
  if (refreshing.has(code)) return { reason: 'auth' }
  return final.has(code) || retry === null ? { reason: 'refused', retryMs: null } : { reason: 'closed', retryMs: retry }
}

/** @param reason of an answer that says nothing else. */
export function endOfAnswer(response: Response, now: number, reason: EndReason): TransportEnd {
  if (response.status === 401) return { reason: 'auth' }
  const retryMs = retryAfterMs(response, now)
  return retryMs === undefined ? { reason } : { reason: 'closed', retryMs }
}

/** How long the server asks to wait, ms (`Retry-After`, RFC 9110 §10.2.3: seconds or a date), at most an hour; `undefined` when it does not. */
function retryAfterMs(response: Response, now: number): number | undefined {
  const text = response.headers.get('retry-after')
  if (text === null) return undefined
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 3_600_000) : undefined
}
