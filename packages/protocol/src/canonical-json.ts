import { CrossfadeError } from './errors.ts'

/** Deeper values are refused: they come from cycles or attacks, and would overflow the stack. */
const maxDepth = 1_000

// Everything else stands for itself in a JSON string. Lone surrogates are matched as well as pairs; JSON.stringify sorts them out.
// oxlint-disable-next-line no-control-regex
const needsEscape = /["\\\u0000-\u001f\ud800-\udfff]/

/**
 * Writes a JSON value in its canonical form: no white space, members sorted by the UTF-16 code units of their names,
 * numbers as ECMAScript writes them (RFC 8785). Members that are `undefined` are left out and `toJSON` is called, as `JSON.stringify` does;
 * a lone surrogate is written as its escape.
 *
 * @throws CrossfadeError `malformed` for what JSON cannot say (functions, symbols, BigInt, NaN, infinities, `undefined` itself),
 *   and for values nested deeper than 1,000, cycles among them.
 */
export function canonicalJson(value: unknown): string {
  return write(value, 0)
}

function write(value: unknown, depth: number): string {
  if (typeof value === 'string') return writeString(value)
  if (typeof value === 'object' && value !== null) return writeContainer(value, depth + 1)
  if (value === null || typeof value === 'boolean' || Number.isFinite(value)) return String(value)
  throw new CrossfadeError(
    'malformed',
    `${describe(value)} is not a JSON value. Only null, booleans, finite numbers, strings, arrays and objects are.`,
  )
}

function writeContainer(value: object, depth: number): string {
  if (depth > maxDepth) {
    throw new CrossfadeError(
      'malformed',
      `The value is nested deeper than ${maxDepth}, or contains itself. Flatten it.`,
    )
  }
  if (Array.isArray(value)) return writeArray(value, depth)
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') return write(toJSON.call(value), depth)
  return writeObject(value as Record<string, unknown>, depth)
}

function writeArray(array: readonly unknown[], depth: number): string {
  let text = '['
  for (let index = 0; index < array.length; index += 1) {
    if (index > 0) text += ','
    const element = array[index]
    text += element === undefined ? 'null' : write(element, depth)
  }
  return `${text}]`
}

// The names are sorted and the members written in that order. An object rebuilt from sorted names would put integer-like names first.
function writeObject(object: Readonly<Record<string, unknown>>, depth: number): string {
  let text = ''
  for (const name of Object.keys(object).toSorted()) {
    const member = object[name]
    if (member === undefined) continue
    if (text !== '') text += ','
    text += `${writeString(name)}:${write(member, depth)}`
  }
  return `{${text}}`
}

function writeString(text: string): string {
  return needsEscape.test(text) ? JSON.stringify(text) : `"${text}"`
}

function describe(value: unknown): string {
  return typeof value === 'number' ? String(value) : `A value of type ${typeof value}`
}
