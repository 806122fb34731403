import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'

type Listener = (...args: unknown[]) => void
/** The events of a connection for which each reader adds listeners, which the next one would add again. */
const lasting = ['close', 'resume', 'pause', 'timeout', 'error', 'drain', 'end', 'data'] as const

/**
 * Serves a request for an upgrade that nobody handles, as Node serves it while no `upgrade` listener exists: the wish is ignored
 * (RFC 9110 §7.8). Clients of HTTP/2 without TLS send it with every request, also with a body.
 *
 * Node has detached its parser by then. So the request's head is put back in front of the connection, which is handed to the server again.
 */
export class PlainRequests {
  readonly #server: Server
  readonly #added = new WeakMap<Duplex, (readonly [event: string, listener: Listener])[]>()

  constructor(server: Server) {
    this.#server = server
  }

  /** @param rest the bytes that came after the head. */
  serve(_event: 'upgrade', request: IncomingMessage, socket: Duplex, rest: Buffer): void {
    for (const [event, listener] of this.#added.get(socket) ?? []) socket.off(event, listener)
    const before = new Map(lasting.map((event) => [event, new Set(socket.listeners(event))]))
    socket.unshift(Buffer.concat([Buffer.from(headOf(request), 'latin1'), rest]))
    // Documented for `connection`: connections may be handed to the server with this event.
    this.#server.emit('encrypted' in socket ? 'secureConnection' : 'connection', socket)
    this.#added.set(
      socket,
      lasting.flatMap((event) =>
        socket
          .listeners(event)
          .filter((listener) => before.get(event)?.has(listener) === false)
          .map((listener) => [event, listener as Listener] as const),
      ),
    )
  }
}

/** The head as received, without the word in `Connection` that makes Node's parser stop at an upgrade. */
function headOf({ method, url, httpVersion, rawHeaders }: IncomingMessage): string {
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    const value = rawHeaders[i + 1] as string
    const kept = name.toLowerCase() === 'connection' ? withoutUpgrade(value) : value
    if (kept !== '') lines.push(`${name}: ${kept}`)
  }
  return `${lines.join('\r\n')}\r\n\r\n`
}

function withoutUpgrade(connection: string): string {
  return connection
    .split(',')
    .map((option) => option.trim())
    .filter((option) => option.toLowerCase() !== 'upgrade')
    .join(', ')
}
