import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Variant } from './variants.ts'

const marker = Buffer.from('"symbol"')

/** Subscribers on raw sockets that only count events: the load generator must cost less than what it measures. */
export class Subscribers {
  readonly #sockets: Socket[]
  #events = 0
  #wanted = Number.POSITIVE_INFINITY
  #arrived: () => void = () => {}
  #bytes = 0

  private constructor(sockets: Socket[]) {
    this.#sockets = sockets
    for (const socket of sockets) socket.on('data', (chunk: Buffer) => this.#count(chunk))
  }

  static async open(port: number, { transport, path, greeting }: Variant, count: number): Promise<Subscribers> {
    const sockets: Socket[] = []
    for (let n = 0; n < count; n++) sockets.push(await request(port, path, handshakes[transport]))
    const subscribers = new Subscribers(sockets)
    if (greeting !== null) for (const socket of sockets) socket.write(maskedFrame(greeting))
    return subscribers
  }

  /** Resolves when no more bytes of greetings come. */
  async ready(): Promise<void> {
    for (let last = -1; last !== this.#bytes;) {
      last = this.#bytes
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }

  /** Resolves when every subscriber got this many more events. */
  arrival(events: number): Promise<void> {
    this.#events = 0
    this.#wanted = events * this.#sockets.length
    return new Promise((resolve) => (this.#arrived = resolve))
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #count(chunk: Buffer): void {
    this.#bytes += chunk.length
    for (let at = chunk.indexOf(marker); at !== -1; at = chunk.indexOf(marker, at + marker.length)) this.#events += 1
    if (this.#events < this.#wanted) return
    this.#wanted = Number.POSITIVE_INFINITY
    this.#arrived()
  }
}

const handshakes = {
  websocket:
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
  sse: 'Accept: text/event-stream\r\n',
}

/** Resolves when the answer begins. */
async function request(port: number, path: string, headers: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${headers}\r\n`)
  await once(socket, 'data')
  return socket
}

/** A client's frame is masked; a mask of zeros leaves the text as it is. */
function maskedFrame(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.from([0x81, 0x80 | bytes.length, 0, 0, 0, 0]), bytes])
}
