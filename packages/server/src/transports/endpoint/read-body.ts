import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'

/** How much of a streamed body is awaited. A larger or slower one is passed on unread. */
export interface ReadBounds {
  readonly maxBytes: number
  readonly maxMs: number
}

/** A body as text, and the payload to send in its place: the same bytes in the same way. */
export interface ReadBody {
  /** `null` where it cannot be known: not text, larger or slower than the bounds, broken off. */
  readonly text: string | null
  readonly payload: unknown
}

/** Reads what Fastify can send, whatever form it has: text, bytes, a stream of Node or of the web, a `Response`. */
export async function readBody(payload: unknown, bounds: ReadBounds): Promise<ReadBody> {
  if (typeof payload === 'string') return { text: payload, payload }
  if (payload instanceof Uint8Array) return { text: textOf([payload]), payload }
  if (isResponse(payload)) {
    const copy = payload.bodyUsed ? null : payload.clone().body
    return { text: copy === null ? null : await readCopy(copy, bounds), payload }
  }
  if (payload instanceof ReadableStream) {
    if (payload.locked) return { text: null, payload }
    const [copy, rest] = (payload as ReadableStream<unknown>).tee()
    return { text: await readCopy(copy, bounds), payload: rest }
  }
  if (payload instanceof Readable && !payload.destroyed) return readStream(payload, bounds)
  return { text: null, payload }
}

/** Whether it is a `Response` of the Fetch API, by the same test as Fastify's. */
export function isResponse(payload: unknown): payload is Response {
  return Object.prototype.toString.call(payload) === '[object Response]'
}

/** Puts status and headers of a `Response` on the reply, as Fastify does at the end, so that ours are added to them. */
export function unwrapResponse(reply: FastifyReply, response: Response): unknown {
  if (response.bodyUsed) return response
  void reply.code(response.status)
  for (const [name, value] of response.headers) void reply.header(name, value)
  return response.body
}

/** Cancels a body that is not sent. */
export function discardBody(payload: unknown): void {
  if (payload instanceof ReadableStream) payload.cancel().catch(() => {})
  else if (payload !== null && typeof payload === 'object' && 'destroy' in payload)
    (payload as { destroy(): void }).destroy()
}

/** The other branch of the stream buffers what is read here until it is sent. */
async function readCopy(copy: ReadableStream<unknown>, bounds: ReadBounds): Promise<string | null> {
  const reader = copy.getReader()
  const { chunks, ended } = await gather(() => reader.read() as Promise<IteratorResult<unknown>>, bounds)
  if (!ended) reader.cancel().catch(() => {})
  return ended ? textOf(chunks) : null
}

async function readStream(source: Readable, bounds: ReadBounds): Promise<ReadBody> {
  const iterator = source[Symbol.asyncIterator]() as AsyncIterator<unknown>
  const { chunks, ended, pending } = await gather(() => iterator.next(), bounds)
  const again = async function* (): AsyncGenerator {
    yield* chunks
    for (let next = await (pending ?? iterator.next()); next.done !== true; next = await iterator.next())
      yield next.value
  }
  const payload = Readable.from(again(), { objectMode: source.readableObjectMode })
  payload.once('close', () => source.destroy())
  return { text: ended ? textOf(chunks) : null, payload }
}

interface Gathered {
  readonly chunks: readonly unknown[]
  /** The body ended within the bounds and without an error. */
  readonly ended: boolean
  /** Otherwise, the read that was under way: its chunk, or its error, is the first part of the remainder. */
  readonly pending: Promise<IteratorResult<unknown>> | null
}

async function gather(
  read: () => Promise<IteratorResult<unknown>>,
  { maxBytes, maxMs }: ReadBounds,
): Promise<Gathered> {
  const chunks: unknown[] = []
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, maxMs, null)
  })
  let pending: Promise<IteratorResult<unknown>> | null = null
  try {
    for (let bytes = 0; bytes <= maxBytes;) {
      pending = read()
      const result = await Promise.race([pending, late])
      if (result === null || result.done === true) return { chunks, ended: result !== null, pending }
      chunks.push(result.value)
      bytes += (result.value as { length?: number }).length ?? 0
      pending = null
    }
    return { chunks, ended: false, pending }
  } catch {
    return { chunks, ended: false, pending }
  } finally {
    clearTimeout(timer)
  }
}

/** JSON is UTF-8 (RFC 8259 §8.1). */
function textOf(chunks: readonly unknown[]): string | null {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  try {
    let text = ''
    for (const chunk of chunks)
      text += typeof chunk === 'string' ? chunk : decoder.decode(chunk as Uint8Array, { stream: true })
    return text + decoder.decode()
  } catch {
    return null
  }
}
