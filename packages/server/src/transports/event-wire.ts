import type { ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import type { EventBytes } from '../delivery/event-bytes.ts'

/** Where the bytes of a stream go, and in which form. */
export interface EventWire {
  readonly stream: Writable
  readonly form: keyof EventBytes
}

/**
 * The socket itself where the answer has it and is in chunks: Node would frame the same bytes again for every subscriber. Else the
 * answer, as for HTTP/1.0, HTTP/2, and where the application has wrapped it in something of its own.
 *
 * @param answer an answer whose head has been sent.
 */
export function eventWire(answer: ServerResponse): EventWire {
  const { socket, chunkedEncoding } = answer
  const isDirect = socket instanceof Socket && chunkedEncoding && !isWrapped(answer)
  return isDirect ? { stream: socket, form: 'chunk' } : { stream: answer, form: 'text' }
}

/** Compression and similar plugins replace methods of the individual answer. */
function isWrapped(answer: ServerResponse): boolean {
  return (['writeHead', 'flushHeaders', 'write', 'end'] as const).some((name) => Object.hasOwn(answer, name))
}
