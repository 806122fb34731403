/**
 * Writes an event of `text/event-stream` (HTML Living Standard §9.2). Line ends in `data` begin a further `data:` line; in `id` they are dropped:
 * neither can begin a field or an event of its own.
 *
 * @param data usually one message of PROTOCOL §5.
 * @param id the cursor, on the stream of one topic (R13).
 */
export function encodeSse(data: string, id?: string): string {
  const lines = lineEnd.test(data) ? data.split(/\r\n|\r|\n/).join('\ndata: ') : data
  return id === undefined ? `data: ${lines}\n\n` : `id: ${id.replaceAll(idBreak, '')}\ndata: ${lines}\n\n`
}

const lineEnd = /[\r\n]/
// NUL as well: a reader ignores an id that has one.
// oxlint-disable-next-line no-control-regex
const idBreak = /[\r\n\u0000]/g
