import type { ErrorCode } from './codes.ts'

/**
 * The one error class of Crossfade. `code` says which error it is; `docs/errors.md` lists when each arises and how to solve it.
 * The message says what happened, with which value, and what to do.
 */
export class CrossfadeError extends Error {
  override readonly name: string = 'CrossfadeError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}
