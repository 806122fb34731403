import type { Timer } from '../environment.ts'
import { SseStream } from './sse-stream.ts'
import type { OpenTransport, Transport, TransportEnd, TransportPort } from './transport.ts'

/** Opens an event stream by POST: proved when two timed heartbeats came in time and apart. */
export const openSse: OpenTransport = (port) => new SseTransport(port)

/** Topics that change together share one new stream. */
const syncMs = 20

/** The stream, and while the topics change, the next one beside it: it takes over from the same cursors before the old one ends. */
class SseTransport implements Transport {
  readonly #port: TransportPort
  #stream: SseStream
  #next: SseStream | null = null
  #timer: Timer | null = null
  #proved = false
  #over = false

  constructor(port: TransportPort) {
    this.#port = port
    this.#stream = new SseStream(
      port,
      { proof: true },
      this.#listener(() => this.#begin()),
    )
  }

  /** Before the proof the stream stays as it is: what is wanted meanwhile comes with the next one. */
  sync(): void {
    if (this.#over || !this.#proved || this.#timer !== null || (this.#next ?? this.#stream).covers()) return
    this.#timer = this.#port.environment.setTimeout(() => {
      this.#timer = null
      if (!(this.#next ?? this.#stream).covers()) this.renew()
    }, syncMs)
  }

  close(): void {
    this.#over = true
    this.#port.environment.clearTimeout(this.#timer)
    this.#stream.close()
    this.#next?.close()
  }

  #begin(): void {
    this.#proved = true
    this.#port.proved()
  }

  renew(token?: string): void {
    if (this.#over || !this.#proved) return
    this.#next?.close()
    const next = new SseStream(
      this.#port,
      { proof: false, token },
      this.#listener(() => this.#takeOver(next)),
    )
    this.#next = next
  }

  #takeOver(next: SseStream): void {
    this.#stream.close()
    this.#stream = next
    this.#next = null
    this.sync()
  }

  #listener(ready: () => void): ConstructorParameters<typeof SseStream>[2] {
    return {
      ready,
      ended: (end) => this.#end(end),
    }
  }

  #end(end: TransportEnd): void {
    if (this.#over) return
    this.close()
    this.#port.ended(end)
  }
}
