import type { ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'

/** A piece of an event stream: its text, and the same as one chunk of HTTP/1.1's chunked coding (RFC 9112 §7.1). */
export interface EventBytes {
  readonly text: Buffer
  readonly chunk: Buffer
}

/** Makes both forms at once; the text is the middle of the chunk, not a copy. */
export function eventBytes(text: string): EventBytes {
  const length = Buffer.byteLength(text)
  const head = `${length.toString(16)}\r\n`
  const chunk = Buffer.allocUnsafe(head.length + length + 2)
  chunk.write(head)
  chunk.write(text, head.length)
  chunk.write('\r\n', head.length + length)
  return { chunk, text: chunk.subarray(head.length, head.length + length) }
}

/** Where the bytes of a stream go, and in which form. */
export interface EventWire {
  readonly stream: Writable
  readonly form: keyof EventBytes
}

/**
 * The socket itself where the answer has it and is in chunks: Node would frame the same bytes again for every subscriber. Else the
 * answer, as for HTTP/1.0, HTTP/2, and where the application has put something of its own around it.
 *
 * @param answer its head has been sent.
 */
export function eventWire(answer: ServerResponse): EventWire {
  const { socket, chunkedEncoding } = answer
  const isDirect = socket instanceof Socket && chunkedEncoding && !isWrapped(answer)
  return isDirect ? { stream: socket, form: 'chunk' } : { stream: answer, form: 'text' }
}

/** Compression and its like replace methods of the single answer. */
function isWrapped(answer: ServerResponse): boolean {
  return (['writeHead', 'flushHeaders', 'write', 'end'] as const).some((name) => Object.hasOwn(answer, name))
}
