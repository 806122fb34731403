import { once } from 'node:events'
import { request, type ClientRequest, type IncomingMessage } from 'node:http'
import { SseParser, type ServerMessage, type SseEvent } from '@crossfade/protocol'

/** How a {@link Stream} is opened. A body makes it a POST. */
export interface StreamOptions {
  readonly headers?: Record<string, string>
  readonly body?: object
  /** Begin without reading: the answer waits in the buffers until `read` is called. */
  readonly paused?: boolean
}

/** A bare reader of an SSE answer that can stop reading, and keeps every event and every byte. */
export class Stream {
  readonly events: SseEvent[] = []
  readonly response: IncomingMessage
  /** Resolves when the answer has ended or broken. */
  readonly closed: Promise<void>
  readonly #request: ClientRequest
  /** All that was read. */
  text = ''

  private constructor(sent: ClientRequest, response: IncomingMessage, paused: boolean) {
    this.#request = sent
    this.response = response
    this.closed = new Promise((resolve) => response.once('close', resolve))
    response.on('error', () => {})
    response.setEncoding('utf8')
    if (!paused) this.read()
  }

  static async open(url: string, options: StreamOptions = {}): Promise<Stream> {
    const { headers = {}, body, paused = false } = options
    const sent = request(url, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      agent: false,
    })
    sent.on('error', () => {})
    sent.end(body === undefined ? undefined : JSON.stringify(body))
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    return new Stream(sent, response, paused)
  }

  /** Begins to read. */
  read(): void {
    const parser = new SseParser((event) => this.events.push(event))
    this.response.on('data', (chunk: string) => {
      this.text += chunk
      parser.push(chunk)
    })
  }

  get messages(): ServerMessage[] {
    return this.events.map((event) => JSON.parse(event.data) as ServerMessage)
  }

  close(): void {
    this.#request.destroy()
  }
}
