/**
 * Whether a text looks as if it was built from a missing value: `undefined`, `null`, `NaN`, or an object without a text of its
 * own, alone or as a part such as in `undefined:admin` or `orgundefined`. Such a name is the same for every principal that lacks the value.
 */
export function looksMissing(text: string): boolean {
  // Other words contain "null", such as "annulled", so that "orgnull" cannot be distinguished from them.
  return /undefined|NaN(?![A-Za-z0-9])|(?<![A-Za-z0-9])(?:null|Invalid Date)(?![A-Za-z0-9])|\[object \w+\]/.test(text)
}
