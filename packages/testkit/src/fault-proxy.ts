import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** What a proxy does to WebSocket upgrades: `refuse` answers 400, `hang` never answers, `strip` forwards a plain GET. */
export type UpgradeFault = 'pass' | 'refuse' | 'hang' | 'strip'

/** What a proxy does to streamed answers: `hold` sends everything at the end, `close` ends them immediately, `refuse` answers 403. */
export type StreamFault = 'pass' | 'hold' | 'close' | 'refuse'

/** The faults of a {@link FaultProxy}. Change them at any time; they take effect on the next request. */
export interface Faults {
  upgrade: UpgradeFault
  stream: StreamFault
  /** WebSockets are killed this long after they opened, ms. `null`: never. */
  killUpgradedAfterMs: number | null
  /** Answers that take longer get 504 with HTML, or an abort once they began, as nginx and load balancers do, ms. `null`: never. */
  cutAfterMs: number | null
  /** Requests whose path begins with this answer 502 with HTML. `null`: none. */
  blockedPath: string | null
  /** Response headers that are removed, lower-case. */
  stripHeaders: readonly string[]
}

const noFaults: Faults = {
  upgrade: 'pass',
  stream: 'pass',
  killUpgradedAfterMs: null,
  cutAfterMs: null,
  blockedPath: null,
  stripHeaders: [],
}

/**
 * An HTTP proxy on 127.0.0.1 between a client and a server, which misbehaves on demand: the middleboxes of FAULTS.md, in one process.
 */
export class FaultProxy {
  readonly faults: Faults = { ...noFaults }
  readonly #server: Server
  readonly #sockets = new Set<Socket | Duplex>()
  #target: URL

  private constructor(target: string) {
    this.#target = new URL(target)
    this.#server = createServer((request, response) => this.#forward(request, response))
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    this.#server.on('connection', (socket) => this.#track(socket))
  }

  /** Starts a proxy in front of `target`, an origin such as `http://127.0.0.1:3000`. */
  static async start(target: string): Promise<FaultProxy> {
    const proxy = new FaultProxy(target)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  /** Where clients connect. */
  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Sends later requests to another server, as after a deploy. */
  retarget(target: string): void {
    this.#target = new URL(target)
  }

  /** Removes all faults. */
  heal(): void {
    Object.assign(this.faults, noFaults)
  }

  /** Cuts every connection, as when a network changes. */
  killAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#sockets.size
  }

  async close(): Promise<void> {
    this.killAll()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #track(socket: Socket | Duplex): void {
    this.#sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    const { blockedPath } = this.faults
    if (blockedPath !== null && request.url?.startsWith(blockedPath)) {
      answerHtml(response, 502)
      return
    }
    const outgoing = httpRequest(
      {
        host: this.#target.hostname,
        port: this.#target.port,
        method: request.method,
        path: request.url,
        headers: request.headers,
      },
      (answer) => this.#relay(answer, response),
    )
    const cut = this.#cutLater(response, () => outgoing.destroy())
    response.once('close', () => {
      clearTimeout(cut)
      outgoing.destroy()
    })
    outgoing.on('error', () => (response.headersSent ? response.destroy() : answerHtml(response, 502)))
    request.pipe(outgoing)
  }

  #relay(answer: IncomingMessage, response: ServerResponse): void {
    const streams = (answer.headers['content-type'] ?? '').startsWith('text/event-stream')
    const { stream, stripHeaders } = this.faults
    if (streams && stream === 'refuse') {
      answer.destroy()
      answerHtml(response, 403)
      return
    }
    const headers = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !stripHeaders.includes(name)))
    answer.on('error', () => response.destroy())
    answer.once('aborted', () => response.destroy())
    if (streams && stream === 'hold') {
      void holdBack(answer, response, headers)
      return
    }
    response.writeHead(answer.statusCode ?? 502, headers)
    if (streams && stream === 'close') {
      answer.destroy()
      response.end()
      return
    }
    response.flushHeaders()
    answer.pipe(response)
  }

  #cutLater(response: ServerResponse, stop: () => void): NodeJS.Timeout | undefined {
    const { cutAfterMs } = this.faults
    if (cutAfterMs === null) return undefined
    return setTimeout(() => {
      if (response.headersSent) response.destroy()
      else answerHtml(response, 504)
      stop()
    }, cutAfterMs)
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#track(socket)
    const { upgrade, blockedPath } = this.faults
    if (upgrade === 'hang') return
    if (upgrade === 'refuse' || (blockedPath !== null && request.url?.startsWith(blockedPath))) {
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    const server = connect(Number(this.#target.port), this.#target.hostname)
    this.#track(server)
    const headers =
      upgrade === 'strip' ? without(request.rawHeaders, ['upgrade', 'connection']) : pairs(request.rawHeaders)
    server.write(
      `${request.method} ${request.url} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
    )
    if (head.length > 0) server.write(head)
    server.pipe(socket)
    socket.pipe(server)
    socket.once('close', () => server.destroy())
    server.once('close', () => socket.destroy())
    this.#killLater(socket)
  }

  #killLater(socket: Duplex): void {
    const { killUpgradedAfterMs } = this.faults
    if (killUpgradedAfterMs === null) return
    const timer = setTimeout(() => socket.destroy(), killUpgradedAfterMs)
    socket.once('close', () => clearTimeout(timer))
  }
}

/** Gives a streamed answer in one piece when it has ended, as a buffering proxy does: not even the headers come before. */
async function holdBack(answer: IncomingMessage, response: ServerResponse, headers: object): Promise<void> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of answer) chunks.push(chunk as Buffer)
  } catch {
    response.destroy()
    return
  }
  response.writeHead(answer.statusCode ?? 502, headers as Record<string, string>)
  response.end(Buffer.concat(chunks))
}

function answerHtml(response: ServerResponse, status: number): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  response.writeHead(status, { 'content-type': 'text/html' })
  response.end(`<html><body><h1>${status}</h1></body></html>`)
}

function pairs(rawHeaders: readonly string[]): [string, string][] {
  return Array.from({ length: rawHeaders.length / 2 }, (_, i) => [
    rawHeaders[2 * i] as string,
    rawHeaders[2 * i + 1] as string,
  ])
}

function without(rawHeaders: readonly string[], names: readonly string[]): [string, string][] {
  return pairs(rawHeaders).filter(([name]) => !names.includes(name.toLowerCase()))
}
