import { CrossfadeError, type StaleReason } from '@crossfade/protocol'

/** A 2xx JSON answer of an endpoint; 204 and 205 are the value `null`. */
export interface Answer {
  /** The body as JSON text on one line. */
  readonly text: string
  readonly value: unknown
  readonly hash: string
  /** The entity tag that the endpoint itself set, or `null`. */
  readonly tag: string | null
  /** Why the answer looks private, or `null` (R15). */
  readonly privateReason: string | null
}

/** The run may not show what these credentials get: it decides neither that they may read nor that they may not. */
export interface Unknown {
  readonly kind: 'unknown'
  /** 0: there was no answer in time. */
  readonly status: number
  readonly reason: StaleReason
  /** The endpoint's `Retry-After`, ms; `null`: none. */
  readonly retryAfterMs: number | null
  /** For the log. */
  readonly detail: string
}

/** These credentials may not read it (`refused`), or it does not exist for them (`gone`). On the wire both are the same (R52). */
export interface Refusal {
  readonly kind: 'refused' | 'gone'
  readonly status: number
  readonly detail: string
}

/** What a run of an endpoint says: the same for loads, permission checks and held answers (R16). */
export type Verdict =
  | { readonly kind: 'value'; readonly answer: Answer }
  | { readonly kind: 'unchanged' }
  | Refusal
  | Unknown

/** Statuses by which an endpoint says "not now": 408, 425, 429 and all of 5xx. */
export function isPassing(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || status >= 500
}

/** An endpoint with a longer `Retry-After` is still asked now and then: nothing else would notice that it has recovered, ms. */
export const maxRetryAfterMs = 600_000

/** A verdict as the error that a client is told. */
export class RunError extends CrossfadeError {
  readonly verdict: Refusal | Unknown

  constructor(verdict: Refusal | Unknown) {
    super(codeOf(verdict), verdict.detail)
    this.verdict = verdict
  }

  get isRefusal(): boolean {
    return this.verdict.kind !== 'unknown'
  }
}

function codeOf(verdict: Refusal | Unknown): 'unauthenticated' | 'forbidden' | 'overloaded' | 'server_error' {
  if (verdict.kind !== 'unknown') return verdict.status === 401 ? 'unauthenticated' : 'forbidden'
  return verdict.retryAfterMs !== null || verdict.status === 429 ? 'overloaded' : 'server_error'
}

/** The time in `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3), as ms from now; `null` when there is none. */
export function retryAfterMs(header: unknown): number | null {
  if (typeof header !== 'string' && typeof header !== 'number') return null
  const text = String(header).trim()
  if (/^\d+$/.test(text)) return Number(text) * 1000
  const at = Date.parse(text)
  return Number.isNaN(at) ? null : Math.max(0, at - Date.now())
}
