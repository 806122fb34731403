/**
 * Whether a text looks as if it was built from a missing value: `undefined`, `null`, `NaN`, or an object without a text of its
 * own, alone or as a part such as in `undefined:admin`. Such a name is the same for everybody who lacks the value.
 */
export function isMadeOfNothing(text: string): boolean {
  return /(?<![A-Za-z0-9])(?:undefined|null|NaN|Invalid Date)(?![A-Za-z0-9])|\[object \w+\]/.test(text)
}
