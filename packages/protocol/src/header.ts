import { parseCursor } from './cursor.ts'
import { CrossfadeError } from './errors.ts'
import type { TopicKind } from './messages.ts'
import { defaultBase } from './names.ts'
import { stages, type Stage } from './rollout.ts'
import { formatDictionary, parseDictionary, Token, type DictionaryValue } from './structured-field.ts'

/** What an endpoint says of itself in its `Crossfade` header (R10). */
export interface EndpointHeader {
  topic: string
  /** Read before the answer's data, so the data may be newer than it, never older (R8). */
  cursor: string
  /** Of the answer's body. */
  hash?: string
  feature?: string
  stage: Stage
  /** Who is at `stage`: those whose bucket is below it, 0 to 100. */
  percent: number
  /** The stage of the others. */
  rest: Stage
  /** Of the rollout: what a client knows with a greater one counts before this header (R61). */
  version?: number
  /** At which interval to poll the endpoint where it is polled, ms, at least 1. Default: the client's own. */
  every?: number
  /** Of an answer that is not public: an opaque tag of the principal whose it is. Another one says that the account has changed. */
  for?: string
  /** Where the server is mounted, on the endpoint's own origin. */
  base: string
  kind?: TopicKind
}

// Whether a name is canonical is for the server to judge (R1); here it must only be one that can be said.
const topicPattern = /^(?!(?:.*\/)?(?:\.|%2e){1,2}(?:\/|$))[^\p{Cc}]{1,255}$/iu
const hashPattern = /^[0-9a-f]{16}$/
// A path of this origin: `//host`, a backslash or a scheme would lead elsewhere, and the client's token with it.
const basePattern = /^(?:\/[A-Za-z0-9\-._~!$&'()*+,;=:@%]+)*$/

/**
 * Writes the header's value, an RFC 9651 dictionary.
 *
 * @throws CrossfadeError `invalid_options` when a text has half a surrogate pair.
 */
export function formatHeader(header: EndpointHeader): string {
  const { topic, cursor, hash, feature, stage, percent, rest, version, every, base, kind } = header
  return formatDictionary({
    topic,
    cursor,
    hash,
    feature,
    stage: new Token(stage),
    percent,
    rest: new Token(rest),
    version,
    every,
    base,
    kind: kind === undefined ? undefined : new Token(kind),
    for: header.for,
  })
}

/**
 * Reads the header's value. Never throws: what is not understood is as good as absent. Unknown members are ignored;
 * `percent` is 100, `rest` is `off` and `base` is `/crossfade` unless said.
 *
 * @returns `null` when the header is absent, not well formed, or says no topic, cursor and stage.
 */
export function parseHeader(text: string | null | undefined): EndpointHeader | null {
  if (typeof text !== 'string') return null
  try {
    return readMembers(parseDictionary(text))
  } catch (error) {
    if (error instanceof CrossfadeError) return null
    throw error
  }
}

function readMembers(members: ReadonlyMap<string, DictionaryValue>): EndpointHeader {
  const text = (name: string, pattern?: RegExp): string => {
    const value = members.get(name)
    if (typeof value !== 'string' || pattern?.test(value) === false) throw wrong()
    return value
  }
  const word = <Word extends string>(name: string, words: readonly Word[]): Word => {
    const value = members.get(name)
    const known = value instanceof Token ? words.find((candidate) => candidate === value.text) : undefined
    if (known === undefined) throw wrong()
    return known
  }
  const whole = (name: string, min: number, max: number = Infinity): number => {
    const value = members.get(name)
    if (typeof value !== 'number' || value < min || value > max) throw wrong()
    return value
  }
  const cursor = text('cursor')
  parseCursor(cursor)
  const header: EndpointHeader = {
    topic: text('topic', topicPattern),
    cursor,
    stage: word('stage', stages),
    percent: members.has('percent') ? whole('percent', 0, 100) : 100,
    rest: members.has('rest') ? word('rest', stages) : 'off',
    base: members.has('base') ? text('base', basePattern) : defaultBase,
  }
  if (members.has('hash')) header.hash = text('hash', hashPattern)
  if (members.has('feature')) header.feature = text('feature')
  if (members.has('version')) header.version = whole('version', 0)
  if (members.has('every')) header.every = whole('every', 1)
  if (members.has('kind')) header.kind = word('kind', ['value', 'log'] as const)
  if (members.has('for')) header.for = text('for')
  return header
}

/** Nobody reads it: `parseHeader` takes such a header as absent. */
function wrong(): CrossfadeError {
  return new CrossfadeError('malformed', 'The header is not well formed.')
}
