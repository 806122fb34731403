import { parseServerMessages, paths, SseParser, type ServerMessage } from '@crossfade/protocol'
import { AskedTopics } from './asked-topics.ts'
import { endOf, endOfAnswer } from './ends.ts'
import { jsonHeaders } from './headers.ts'
import { Liveness } from './liveness.ts'
import type { TransportEnd, TransportPort } from './transport.ts'

/** What a stream tells. */
export interface SseStreamListener {
  /** It carries: after the proof, or after `hello` when the path is proved. */
  ready(): void
  ended(end: TransportEnd): void
}

/** One request whose answer streams, for the topics that were wanted when it was sent. */
export class SseStream {
  readonly #port: TransportPort
  readonly #listener: SseStreamListener
  readonly #options: { readonly proof: boolean; readonly token?: string | undefined }
  readonly #abort = new AbortController()
  readonly #liveness: Liveness
  readonly #asked: AskedTopics
  #firstBeatAt: number | null = null
  #isReady = false
  #bye: { code: number; retry: number | null } | null = null
  #over = false

  /** @param options `proof`: the path must show that it does not buffer; `token`: a new one. */
  constructor(
    port: TransportPort,
    options: { proof: boolean; token?: string | undefined },
    listener: SseStreamListener,
  ) {
    this.#port = port
    this.#listener = listener
    this.#options = options
    this.#asked = new AskedTopics(port.subscriptions())
    this.#liveness = new Liveness(port, (reason) => this.#dead(reason))
    void this.#run(JSON.stringify({ topics: this.#asked.topics, stagesSince: port.heard() }))
  }

  /** Whether it streams exactly what is wanted. */
  covers(): boolean {
    return this.#asked.covers(this.#port.subscriptions())
  }

  close(): void {
    this.#over = true
    this.#liveness.stop()
    this.#abort.abort()
  }

  async #run(body: string): Promise<void> {
    try {
      const response = await this.#request(body)
      const type = response.headers.get('content-type') ?? ''
      if (response.ok && type.startsWith('text/event-stream') && response.body !== null)
        await this.#receive(response.body)
      else this.#refused(response)
    } catch {
      // The connection was refused or broke, or what came is not one of our streams: it ends here.
    }
    this.#finished()
  }

  async #request(body: string): Promise<Response> {
    const { environment, base } = this.#port
    const token = this.#options.token ?? (await this.#port.token())
    return environment.fetch(`${base}${paths.sse}${this.#options.proof ? '?proof=1' : ''}`, {
      method: 'POST',
      headers: jsonHeaders(token, { accept: 'text/event-stream' }),
      body,
      cache: 'no-store',
      signal: this.#abort.signal,
    })
  }

  async #receive(body: ReadableStream<Uint8Array>): Promise<void> {
    const parser = new SseParser(({ data }) => {
      for (const message of parseServerMessages(data)) this.#take(message)
    })
    const decoder = new TextDecoder()
    const reader = body.getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done || this.#over) return
      parser.push(decoder.decode(value, { stream: true }))
    }
  }

  #take(message: ServerMessage): void {
    if (this.#over) return
    this.#liveness.heard(message)
    if (message.type === 'hello') {
      this.#liveness.follow(message.heartbeat)
      if (!this.#options.proof) this.#ready()
    } else if (message.type === 'bye') this.#bye = message
    else if (message.type === 'heartbeat') this.#beat()
    else this.#port.message(message, this.#asked.of(message))
  }

  /** The last timed frame must arrive, and not together with the first: a buffer gives both at once. */
  #beat(): void {
    if (this.#isReady) return
    const { environment, timing } = this.#port
    const now = environment.now()
    if (this.#firstBeatAt === null) this.#firstBeatAt = now
    else if (now - this.#firstBeatAt < timing.proofSpacingMs) this.#end({ reason: 'sse-buffered' })
    else this.#ready()
  }

  #ready(): void {
    if (this.#isReady) return
    this.#isReady = true
    this.#liveness.prove()
    this.#listener.ready()
  }

  /** A stream that goes silent is dead; if the path began to buffer, the next one cannot prove itself. */
  #dead(reason: 'silence' | 'lag'): void {
    this.#end({ reason: reason === 'lag' || !this.#isReady ? 'sse-buffered' : 'closed' })
  }

  #refused(response: Response): void {
    void response.body?.cancel().catch(() => {})
    this.#end(endOfAnswer(response, this.#port.environment.now(), 'sse-blocked'))
  }

  #finished(): void {
    this.#end(this.#bye === null ? { reason: this.#isReady ? 'closed' : 'sse-blocked' } : endOf(this.#bye))
  }

  #end(end: TransportEnd): void {
    if (this.#over) return
    this.close()
    this.#listener.ended(end)
  }
}
