import { CrossfadeError } from './errors.ts'
import { percentDecode, percentEncode } from './percent.ts'
import { utf8Length } from './utf8.ts'

const maxTopicBytes = 255

// Control characters: U+0000 to U+001F, DEL, and U+0080 to U+009F.
// oxlint-disable-next-line no-control-regex
const control = /[\u0000-\u001f\u007f-\u009f]/
const loneSurrogate = /\p{Surrogate}/u
// A URL parser takes %2e for a dot, so an encoded dot segment would climb as a plain one does.
const dotSegment = /^(?:\.|%2e){1,2}$/i

/**
 * Checks a topic's name: 1 to 255 bytes of UTF-8, no control characters, no empty, `.` or `..` segment, a canonical query part (R1).
 *
 * @returns the name.
 * @throws CrossfadeError `invalid_topic`.
 */
export function assertTopic(name: unknown): string {
  if (typeof name !== 'string') throw invalid(name, 'is not a string')
  // A byte is at least a third of a code unit: what is long for sure is not measured.
  const bytes = name.length > maxTopicBytes ? name.length : utf8Length(name)
  if (bytes < 1 || bytes > maxTopicBytes) throw invalid(name, `has not 1 to ${maxTopicBytes} bytes`)
  if (control.test(name)) throw invalid(name, 'has a control character')
  if (loneSurrogate.test(name)) throw invalid(name, 'has half a surrogate pair')
  const [path, query] = splitName(name)
  for (const segment of path.split('/')) {
    if (segment === '' || dotSegment.test(segment)) throw invalid(name, 'has an empty, "." or ".." segment')
  }
  if (query !== null && !isCanonicalQuery(query)) {
    throw invalid(name, 'has a query part that is not sorted and percent-encoded, or names a parameter twice')
  }
  return name
}

/**
 * Makes a topic's name from its path and the declared query parameters, which are percent-encoded and sorted (R1).
 *
 * @param path such as `orders`, already encoded where it must be.
 * @throws CrossfadeError `invalid_topic` when they make no topic.
 */
export function topicName(path: string, query: Readonly<Record<string, string>> = {}): string {
  if (path.includes('?')) throw invalid(path, 'has a "?", which begins the query part')
  const pairs = Object.entries(query).map(([name, value]) => `${percentEncode(name)}=${percentEncode(value)}`)
  return assertTopic(pairs.length === 0 ? path : `${path}?${pairs.toSorted(byName).join('&')}`)
}

/**
 * The query part of a topic's name, decoded. Empty when there is none, or it is not canonical.
 */
export function topicQuery(name: string): Record<string, string> {
  const query = splitName(name)[1]
  if (query === null || !isCanonicalQuery(query)) return {}
  return Object.fromEntries(query.split('&').map(decodePair) as [string, string][])
}

/** Splits a topic's name at its first `?`. The query is `null` when there is none. */
export function splitName(name: string): [path: string, query: string | null] {
  const at = name.indexOf('?')
  return at < 0 ? [name, null] : [name.slice(0, at), name.slice(at + 1)]
}

function isCanonicalQuery(query: string): boolean {
  let previous = ''
  for (const pair of query.split('&')) {
    const decoded = decodePair(pair)
    const name = nameOf(pair)
    if (decoded === null || name <= previous) return false
    previous = name
  }
  return true
}

function decodePair(pair: string): [string, string] | null {
  const at = pair.indexOf('=')
  if (at < 1) return null
  const name = percentDecode(pair.slice(0, at))
  const value = percentDecode(pair.slice(at + 1))
  return name === null || value === null ? null : [name, value]
}

function byName(a: string, b: string): number {
  return nameOf(a) < nameOf(b) ? -1 : 1
}

function nameOf(pair: string): string {
  return pair.slice(0, pair.indexOf('='))
}

function invalid(name: unknown, why: string): CrossfadeError {
  const shown = typeof name === 'string' ? JSON.stringify(name.slice(0, 80)) : typeof name
  return new CrossfadeError(
    'invalid_topic',
    `The topic ${shown} ${why}. A topic is a name like "orders/42" or "orders?status=open".`,
  )
}
