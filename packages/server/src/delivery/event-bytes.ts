/** A piece of an event stream: its text, and the same as one chunk of HTTP/1.1's chunked coding (RFC 9112 §7.1). */
export interface EventBytes {
  readonly text: Buffer
  readonly chunk: Buffer
}

/** Creates both forms together; the text is the middle of the chunk, not a copy. */
export function eventBytes(text: string): EventBytes {
  const length = Buffer.byteLength(text)
  const head = `${length.toString(16)}\r\n`
  const chunk = Buffer.allocUnsafe(head.length + length + 2)
  chunk.write(head)
  chunk.write(text, head.length)
  chunk.write('\r\n', head.length + length)
  return { chunk, text: chunk.subarray(head.length, head.length + length) }
}
