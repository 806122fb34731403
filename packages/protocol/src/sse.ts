/** What an event of a stream may have besides its data. */
export interface SseFields {
  /** The cursor, on the stream of one topic (R13). */
  id?: string
  /** How long an `EventSource` waits before it comes again, a whole number of ms. */
  retry?: number
}

/**
 * Writes an event of `text/event-stream` (HTML Living Standard §9.2). Line ends in `data` begin a further `data:` line; in `id` they are dropped:
 * neither can begin a field or an event of its own.
 *
 * @param data usually one message of PROTOCOL §5.
 */
export function encodeSse(data: string, { id, retry }: SseFields = {}): string {
  const lines = lineEnd.test(data) ? data.split(/\r\n|\r|\n/).join('\ndata: ') : data
  const idField = id === undefined ? '' : `id: ${id.replaceAll(idBreak, '')}\n`
  const retryField = retry === undefined ? '' : `retry: ${retry}\n`
  return `${idField}${retryField}data: ${lines}\n\n`
}

const lineEnd = /[\r\n]/
// NUL as well: a reader ignores an id that has one.
// oxlint-disable-next-line no-control-regex
const idBreak = /[\r\n\u0000]/g
