import { CrossfadeError, defaultLimits } from '@crossfade/protocol'
import { suggestion } from './configuration/nearest.ts'

/** The limits of PROTOCOL §8; each is refused with its own code. */
export type Limits = { readonly [name in keyof typeof defaultLimits]: number }

/**
 * The defaults, overridden by the application's own limits.
 *
 * @throws CrossfadeError `invalid_options` when one is unknown or not a positive number.
 */
export function limitsOf(given: Partial<Limits> = {}): Limits {
  for (const [name, value] of Object.entries(given)) {
    if (!(name in defaultLimits)) {
      throw new CrossfadeError(
        'invalid_options',
        `"${name}" is not a limit. ${suggestion(name, Object.keys(defaultLimits))}`,
      )
    }
    if (typeof value !== 'number' || !(value > 0)) {
      throw new CrossfadeError('invalid_options', `The limit ${name} must be a number above 0, got ${String(value)}.`)
    }
  }
  return { ...defaultLimits, ...given }
}
