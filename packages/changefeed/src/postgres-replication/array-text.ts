import { CrossfadeError } from '@crossfade/protocol'

/**
 * Reads PostgreSQL's text form of an array: `{1,NULL,"a,b",{…}}`, also with bounds before it (manual, "Array Input and Output Syntax").
 *
 * @throws CrossfadeError `malformed` when it is not an array.
 */
export function parseArray(text: string, decode: (element: string) => unknown): unknown[] {
  const start = text.startsWith('[') ? text.indexOf('=') + 1 : 0
  const reader = new ArrayReader(text, start, decode)
  const value = reader.array()
  if (!reader.isAtEnd) throw malformed(text)
  return value
}

class ArrayReader {
  readonly #text: string
  readonly #decode: (element: string) => unknown
  #at: number

  constructor(text: string, at: number, decode: (element: string) => unknown) {
    this.#text = text
    this.#at = at
    this.#decode = decode
  }

  get isAtEnd(): boolean {
    return this.#at === this.#text.length
  }

  array(): unknown[] {
    const values: unknown[] = []
    this.#take('{')
    if (this.#skip('}')) return values
    do values.push(this.#element())
    while (this.#skip(','))
    this.#take('}')
    return values
  }

  #element(): unknown {
    if (this.#text[this.#at] === '{') return this.array()
    if (this.#text[this.#at] === '"') return this.#decode(this.#quoted())
    const start = this.#at
    while (!this.isAtEnd && this.#text[this.#at] !== ',' && this.#text[this.#at] !== '}') this.#at += 1
    const plain = this.#text.slice(start, this.#at)
    return plain === 'NULL' ? null : this.#decode(plain)
  }

  #quoted(): string {
    this.#take('"')
    let value = ''
    while (!this.#skip('"')) {
      this.#skip('\\')
      if (this.isAtEnd) throw malformed(this.#text)
      value += this.#text[this.#at]
      this.#at += 1
    }
    return value
  }

  #skip(character: string): boolean {
    if (this.#text[this.#at] !== character) return false
    this.#at += 1
    return true
  }

  #take(character: string): void {
    if (!this.#skip(character)) throw malformed(this.#text)
  }
}

function malformed(text: string): CrossfadeError {
  return new CrossfadeError(
    'malformed',
    `The replication stream sent ${JSON.stringify(text.slice(0, 60))} where an array must stand.`,
  )
}
