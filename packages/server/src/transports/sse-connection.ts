import type { ServerResponse } from 'node:http'
import { Connection } from 'better-sse'

/** The headers of every stream (R24). */
const streamHeaders = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-store, no-transform',
  'X-Accel-Buffering': 'no',
}

/**
 * A better-sse connection over Node's own answer, without the `Request` and `Response` objects that the library's default builds
 * for each stream. Events are written by the outlet, which respects backpressure; the session carries head and end.
 */
export class SseConnection extends Connection {
  override readonly url: URL = new URL('sse://stream')
  override readonly request: Request
  override readonly response: Response
  /** Why the head could not be sent, such as an invalid header of the application. */
  failure: unknown = null
  readonly #answer: ServerResponse
  readonly #headers: Record<string, string | string[] | number | undefined>

  /** @param headers what the application's hooks put on the answer, such as CORS headers. */
  constructor(answer: ServerResponse, headers: Record<string, string | string[] | number | undefined>) {
    super()
    this.#answer = answer
    this.#headers = headers
    const ended = new AbortController()
    answer.once('close', () => ended.abort())
    // The two members that the session reads.
    this.request = { headers: new Headers(), signal: ended.signal } as unknown as Request
    this.response = {} as Response
  }

  override sendHead(): void {
    const head = { ...this.#headers, ...streamHeaders }
    try {
      this.#answer.writeHead(200, head as Record<string, string>)
      this.#answer.flushHeaders()
    } catch (error) {
      // The library calls this where an error could not be caught.
      this.failure = error
    }
  }

  override sendChunk(chunk: string): void {
    if (chunk !== '') this.#answer.write(chunk)
  }

  override cleanup(): void {}
}
