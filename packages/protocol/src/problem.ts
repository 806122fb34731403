import type { ErrorCode } from './codes.ts'

/** The body of an HTTP error, `application/problem+json` (RFC 9457), with the `code` of PROTOCOL §6. */
export interface Problem {
  /** A URI that names the kind of problem; `about:blank` when `code` says it all. */
  type: string
  title: string
  /** The HTTP status. */
  status: number
  code: ErrorCode
  /** What happened, with the value, and what to do. */
  detail?: string
}
