import { CrossfadeError } from './errors.ts'

/** A token of a structured field (RFC 9651 §3.3.4), told apart from a string. */
export class Token {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** A member's value: string or display string, token, integer, boolean; `null` for the types that Crossfade does not use. */
export type DictionaryValue = string | number | boolean | Token | null

const maxChars = 8_192
const key = /[a-z*][a-z0-9_\-.*]*/y
const space = /[ \t]*/y
const quoted = /"((?:[ !#-[\]-~]|\\["\\])*)"/y
const display = /%"((?:[ !#$&-~]|%[0-9a-f]{2})*)"/y
const token = /[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*/y
const integer = /-?\d{1,15}(?![\d.])/y
const bool = /\?[01]/y
// Decimal, byte sequence, date: well formed, not used.
const other = /-?\d{1,12}\.\d{1,3}(?!\d)|:[A-Za-z0-9+/=]*:|@-?\d{1,15}(?![\d.])/y
const plain = /^[\x20-\x7e]*$/

/**
 * Reads a dictionary (RFC 9651 §4.2.2). Parameters are checked and dropped; the last of equal members counts.
 *
 * @throws CrossfadeError `malformed` when the text is not one, or longer than 8 KiB.
 */
export function parseDictionary(text: string): Map<string, DictionaryValue> {
  if (text.length > maxChars) throw malformed()
  return new DictionaryReader(text.replaceAll(/^ +| +$/g, '')).read()
}

/**
 * Writes a dictionary (RFC 9651 §4.1.2). Members that are `undefined` are left out; strings beyond ASCII become display strings.
 *
 * @throws CrossfadeError `invalid_options` for half a surrogate pair, which no header can carry.
 */
export function formatDictionary(members: Readonly<Record<string, string | number | Token | undefined>>): string {
  return Object.entries(members)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${formatValue(value as string | number | Token)}`)
    .join(', ')
}

function formatValue(value: string | number | Token): string {
  if (typeof value === 'number') return String(value)
  if (value instanceof Token) return value.text
  return plain.test(value) ? `"${value.replaceAll(/["\\]/g, String.raw`\$&`)}"` : formatDisplay(value)
}

function formatDisplay(text: string): string {
  try {
    const encoded = text.replaceAll(/[^\x20-\x7e]+|[%"]/gu, (part) => encodeURIComponent(part).toLowerCase())
    return `%"${encoded}"`
  } catch (cause) {
    throw new CrossfadeError(
      'invalid_options',
      `${JSON.stringify(text)} has half a surrogate pair. Use well-formed text.`,
      { cause },
    )
  }
}

class DictionaryReader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  read(): Map<string, DictionaryValue> {
    const members = new Map<string, DictionaryValue>()
    while (this.#at < this.#text.length) {
      const name = this.#expect(key)
      members.set(name, this.#skip('=') ? this.#value() : true)
      this.#parameters()
      this.#take(space)
      if (this.#at === this.#text.length) break
      if (!this.#skip(',')) throw malformed()
      this.#take(space)
      if (this.#at === this.#text.length) throw malformed()
    }
    return members
  }

  #value(): DictionaryValue {
    if (!this.#skip('(')) return this.#item()
    while (!this.#skip(')')) {
      if (this.#skip(' ')) continue
      this.#item()
      this.#parameters()
      if (!' )'.includes(this.#text.charAt(this.#at) || '?')) throw malformed()
    }
    return null
  }

  #item(): DictionaryValue {
    let match: RegExpExecArray | null
    if ((match = this.#take(quoted))) return (match[1] as string).replaceAll(/\\(.)/g, '$1')
    if ((match = this.#take(integer))) return Number(match[0])
    if ((match = this.#take(token))) return new Token(match[0])
    if ((match = this.#take(bool))) return match[0] === '?1'
    if ((match = this.#take(display))) return decodeDisplay(match[1] as string)
    this.#expect(other)
    return null
  }

  #parameters(): void {
    while (this.#skip(';')) {
      this.#take(/ */y)
      this.#expect(key)
      if (this.#skip('=')) this.#item()
    }
  }

  #expect(pattern: RegExp): string {
    const match = this.#take(pattern)
    if (match === null) throw malformed()
    return match[0]
  }

  #take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.#text)
    if (match) this.#at = pattern.lastIndex
    return match
  }

  #skip(character: string): boolean {
    if (this.#text[this.#at] !== character) return false
    this.#at += 1
    return true
  }
}

function decodeDisplay(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw malformed(cause)
  }
}

/** Nobody reads it: `parseHeader` takes such a field as absent. */
function malformed(cause?: unknown): CrossfadeError {
  return new CrossfadeError('malformed', 'The structured field is not well formed.', { cause })
}
