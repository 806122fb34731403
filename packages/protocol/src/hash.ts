import { canonicalJson } from './canonical-json.ts'
import { murmur3Pair } from './murmur3.ts'
import { utf8Scratch } from './utf8.ts'

/**
 * The hash of a JSON value: MurmurHash3 over the UTF-8 of its canonical form with seed 0, then with seed 1, each as 8 lower-case
 * hex digits (PROTOCOL §1). Equal values have equal hashes whatever the order of their members. Not for security.
 *
 * @returns 16 hex digits; of `"hello"`: `27ace383f11f813b`.
 * @throws CrossfadeError `malformed` when the value is not a JSON value.
 */
export function hashValue(value: unknown): string {
  const { bytes, length } = utf8Scratch(canonicalJson(value))
  const [first, second] = murmur3Pair(bytes, length, 0, 1)
  return hex(first) + hex(second)
}

function hex(word: number): string {
  return word.toString(16).padStart(8, '0')
}
