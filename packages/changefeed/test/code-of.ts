import { CrossfadeError } from '@crossfade/protocol'

/** The code with which a function fails; `null` when it does not, and the error's text when it is not one of ours. */
export function codeOf(run: () => unknown): string | null {
  try {
    run()
    return null
  } catch (error) {
    return error instanceof CrossfadeError ? error.code : String(error)
  }
}
