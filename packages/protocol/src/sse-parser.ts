import { CrossfadeError } from './errors.ts'

/** An event of a stream. */
export interface SseEvent {
  data: string
  /** `message` unless the stream names another. */
  event: string
  /** The last id that the stream gave, with this event or before it. */
  id: string | undefined
  /** Wait this long before a reconnect, ms, if the stream said so since the last event. */
  retry?: number
}

const maxChars = 8_388_608
const lineEnd = /\r\n|\n|\r/g

/**
 * Reads `text/event-stream` piece by piece (HTML Living Standard §9.2.6): a byte order mark, CR, LF and CRLF, comments and data of several lines,
 * wherever the pieces are cut.
 */
export class SseParser {
  readonly #onEvent: (event: SseEvent) => void
  #begun = false
  #endedWithCr = false
  #line = ''
  #data: string[] = []
  #dataChars = 0
  #event = ''
  #id: string | undefined
  #retry: number | undefined

  constructor(onEvent: (event: SseEvent) => void) {
    this.#onEvent = onEvent
  }

  /**
   * Takes the next piece of the stream.
   *
   * @throws CrossfadeError `too_large` when one event has more than 8 MiB.
   */
  push(chunk: string): void {
    let start = this.#startOf(chunk)
    lineEnd.lastIndex = start
    for (let match = lineEnd.exec(chunk); match; match = lineEnd.exec(chunk)) {
      const line = this.#line + chunk.slice(start, match.index)
      start = lineEnd.lastIndex
      this.#line = ''
      this.#onLine(line)
      // The listener may have fed another parser, which shares the expression.
      lineEnd.lastIndex = start
    }
    this.#endedWithCr = chunk === '' ? this.#endedWithCr : chunk.endsWith('\r')
    this.#line += chunk.slice(start)
    this.#bound()
  }

  /** Skips a byte order mark, and the second half of a CRLF that was cut in two. */
  #startOf(chunk: string): number {
    if (chunk === '') return 0
    if (this.#begun) return this.#endedWithCr && chunk.startsWith('\n') ? 1 : 0
    this.#begun = true
    return chunk.startsWith('\uFEFF') ? 1 : 0
  }

  #onLine(line: string): void {
    if (line === '') this.#dispatch()
    else if (!line.startsWith(':')) this.#onField(line)
  }

  #onField(line: string): void {
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (name === 'data') this.#addData(value)
    else if (name === 'event') this.#event = value
    else if (name === 'id' && !value.includes('\0')) this.#id = value
    else if (name === 'retry' && /^\d+$/.test(value)) this.#retry = Number(value)
  }

  #addData(value: string): void {
    this.#data.push(value)
    this.#dataChars += value.length + 1
    this.#bound()
  }

  #dispatch(): void {
    const data = this.#data.join('\n')
    const event = this.#event || 'message'
    const has = this.#data.length > 0
    this.#data = []
    this.#dataChars = 0
    this.#event = ''
    if (!has) return
    const retry = this.#retry
    this.#retry = undefined
    this.#onEvent({ data, event, id: this.#id, ...(retry === undefined ? {} : { retry }) })
  }

  #bound(): void {
    if (this.#line.length + this.#dataChars > maxChars) {
      throw new CrossfadeError('too_large', `An event of the stream has more than ${maxChars} characters.`)
    }
  }
}
