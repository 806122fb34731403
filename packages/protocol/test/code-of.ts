import { CrossfadeError, type ErrorCode } from '@crossfade/protocol'

/** The code with which a call fails; `null` when it does not. Any other error is a bug, and is thrown on. */
export function codeOf(call: () => unknown): ErrorCode | null {
  try {
    call()
    return null
  } catch (error) {
    if (error instanceof CrossfadeError) return error.code
    throw error
  }
}
