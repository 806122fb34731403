import { CrossfadeError } from '@crossfade/protocol'

/**
 * Tells the two kinds of errors that a feed has.
 *
 * A source failure is what the database lacks or refuses: it is down, says no, has no such table. It can end while the process
 * runs, so it is worth another attempt. Everything else is a mistake in code, such as a bad option or a package that is not installed, which
 * no attempt can cure.
 *
 * @returns `true` for a source failure: every error but `invalid_options` and JavaScript's own.
 */
export function isSourceFailure(error: unknown): boolean {
  if (error instanceof CrossfadeError) return error.code !== 'invalid_options'
  return !mistakes.some((kind) => error instanceof kind)
}

const mistakes = [TypeError, ReferenceError, RangeError, SyntaxError]
