import { parseServerMessages, paths, SseParser, type ServerMessage } from '@crossfade/protocol'
import type { Timer } from '../environment.ts'
import { jsonHeaders, positionsOf, retryAfterMs } from './headers.ts'
import { Liveness } from './liveness.ts'
import type { OpenTransport, Transport, TransportEnd, TransportPort } from './transport.ts'

/** Opens an event stream by POST: proved when two timed heartbeats came in time and apart (F5, F6). */
export const openSse: OpenTransport = (port) => new SseTransport(port)

const syncMs = 20

/** The stream, and while the topics change, the next one beside it: it takes over from the same cursors before the old one ends. */
class SseTransport implements Transport {
  readonly #port: TransportPort
  #stream: SseStream
  #next: SseStream | null = null
  #timer: Timer | null = null
  #over = false

  constructor(port: TransportPort) {
    this.#port = port
    this.#stream = new SseStream(port, true, {
      ready: () => port.proved(),
      ended: (end) => this.#end(end),
    })
  }

  sync(): void {
    if (this.#over || this.#timer !== null || this.#stream.covers()) return
    this.#timer = this.#port.environment.setTimeout(() => {
      this.#timer = null
      this.#replace()
    }, syncMs)
  }

  close(): void {
    this.#over = true
    if (this.#timer !== null) this.#port.environment.clearTimeout(this.#timer)
    this.#stream.close()
    this.#next?.close()
  }

  #replace(): void {
    if (this.#over || this.#stream.covers()) return
    this.#next?.close()
    const next = new SseStream(this.#port, false, {
      ready: () => {
        this.#stream.close()
        this.#stream = next
        this.#next = null
        this.sync()
      },
      ended: (end) => this.#end(end),
    })
    this.#next = next
  }

  #end(end: TransportEnd): void {
    if (this.#over) return
    this.close()
    this.#port.ended(end)
  }
}

interface StreamPort {
  /** It carries: after the proof, or after `hello` when the path is proved. */
  ready(): void
  ended(end: TransportEnd): void
}

/** One request whose answer streams. */
class SseStream {
  readonly #port: TransportPort
  readonly #listener: StreamPort
  readonly #abort = new AbortController()
  readonly #liveness: Liveness
  readonly #mustProve: boolean
  readonly #ids: ReadonlySet<string>
  #beats: number[] = []
  #isReady = false
  #bye: { retry: number | null } | null = null
  #over = false

  constructor(port: TransportPort, mustProve: boolean, listener: StreamPort) {
    this.#port = port
    this.#listener = listener
    this.#mustProve = mustProve
    this.#ids = new Set([...port.subscriptions()].map((subscription) => subscription.id))
    this.#liveness = new Liveness(port, () => this.#end({ reason: 'sse-buffered' }))
    void this.#read()
  }

  /** Whether it streams exactly what is wanted. */
  covers(): boolean {
    const wanted = [...this.#port.subscriptions()]
    return wanted.length === this.#ids.size && wanted.every((subscription) => this.#ids.has(subscription.id))
  }

  close(): void {
    this.#over = true
    this.#liveness.stop()
    this.#abort.abort()
  }

  async #read(): Promise<void> {
    const { environment, base } = this.#port
    try {
      const response = await environment.fetch(`${base}${paths.sse}${this.#mustProve ? '?proof=1' : ''}`, {
        method: 'POST',
        headers: await jsonHeaders(this.#port, 'text/event-stream'),
        body: JSON.stringify({ topics: positionsOf(this.#port) }),
        cache: 'no-store',
        signal: this.#abort.signal,
      })
      const type = response.headers.get('content-type') ?? ''
      if (!response.ok || !type.startsWith('text/event-stream') || response.body === null)
        return this.#refused(response)
      await this.#receive(response.body)
      this.#end(
        this.#bye === null
          ? { reason: this.#isReady ? 'closed' : 'sse-blocked' }
          : { reason: 'closed', retryMs: this.#bye.retry },
      )
    } catch {
      this.#end(
        this.#bye === null
          ? { reason: this.#isReady ? 'closed' : 'sse-blocked' }
          : { reason: 'closed', retryMs: this.#bye.retry },
      )
    }
  }

  async #receive(body: ReadableStream<Uint8Array>): Promise<void> {
    const parser = new SseParser(({ data }) => {
      for (const message of parseServerMessages(data)) this.#take(message)
    })
    const decoder = new TextDecoder()
    const reader = body.getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      if (this.#over) return
      parser.push(decoder.decode(value, { stream: true }))
    }
  }

  #take(message: ServerMessage): void {
    if (this.#over) return
    this.#liveness.heard(message)
    if (message.type === 'hello') {
      this.#liveness.follow(message.heartbeat)
      if (!this.#mustProve) this.#ready()
    } else if (message.type === 'bye') this.#bye = message
    else if (message.type === 'heartbeat') this.#beat()
    else this.#port.message(message)
  }

  /** The last timed frame must arrive, and not together with the first: a buffer gives both at once. */
  #beat(): void {
    if (this.#isReady) return
    this.#beats.push(this.#port.environment.now())
    const [first, second] = this.#beats
    if (first === undefined || second === undefined) return
    if (second - first < this.#port.timing.proofSpacingMs) this.#end({ reason: 'sse-buffered' })
    else this.#ready()
  }

  #ready(): void {
    this.#isReady = true
    this.#listener.ready()
  }

  #refused(response: Response): void {
    void response.body?.cancel().catch(() => {})
    const retryMs = retryAfterMs(response)
    if (response.status === 401) this.#end({ reason: 'auth' })
    else if (retryMs !== undefined) this.#end({ reason: 'closed', retryMs })
    else this.#end({ reason: 'sse-blocked' })
  }

  #end(end: TransportEnd): void {
    if (this.#over) return
    this.close()
    this.#listener.ended(end)
  }
}
