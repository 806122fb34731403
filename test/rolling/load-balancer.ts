import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** A load balancer on 127.0.0.1 that gives each request to the next of its targets, and to another when one does not take it. */
export class LoadBalancer {
  readonly #server: Server
  readonly #sockets = new Set<Socket | Duplex>()
  #targets: readonly URL[] = []
  #turn = 0
  /** Requests that no target answered. */
  failed = 0

  private constructor() {
    this.#server = createServer((request, response) => this.#forward(request, response))
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    this.#server.on('connection', (socket) => this.#track(socket))
  }

  static async start(): Promise<LoadBalancer> {
    const balancer = new LoadBalancer()
    balancer.#server.listen(0, '127.0.0.1')
    await once(balancer.#server, 'listening')
    return balancer
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Where new requests go from now on; those under way stay where they are. */
  use(...origins: string[]): void {
    this.#targets = origins.map((origin) => new URL(origin))
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #next(): URL | undefined {
    this.#turn += 1
    return this.#targets[this.#turn % this.#targets.length]
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.once('end', () => this.#send(request, response, Buffer.concat(chunks), this.#targets.length))
  }

  #send(request: IncomingMessage, response: ServerResponse, body: Buffer, triesLeft: number): void {
    const target = this.#next()
    const { method, url, headers } = request
    const sent = httpRequest({ host: target?.hostname, port: target?.port, method, path: url, headers, agent: false })
    response.once('close', () => sent.destroy())
    sent.once('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      response.flushHeaders()
      answer.on('error', () => response.destroy())
      answer.pipe(response)
    })
    sent.once('error', (error: NodeJS.ErrnoException) => {
      if (response.destroyed || response.headersSent) return void response.destroy()
      if (error.code === 'ECONNREFUSED' && triesLeft > 1) return this.#send(request, response, body, triesLeft - 1)
      this.failed += 1
      response.writeHead(502).end()
    })
    sent.end(body)
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#track(socket)
    const target = this.#next()
    const upstream = connect(Number(target?.port), target?.hostname)
    this.#track(upstream)
    upstream.once('connect', () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`]
      for (let i = 0; i < request.rawHeaders.length; i += 2)
        lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`)
      upstream.write(`${lines.join('\r\n')}\r\n\r\n`)
      upstream.write(head)
      upstream.pipe(socket)
      socket.pipe(upstream)
    })
    for (const [one, other] of [
      [upstream, socket],
      [socket, upstream],
    ] as const)
      one.once('close', () => other.destroy())
  }

  #track(socket: Socket | Duplex): void {
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => this.#sockets.delete(socket))
  }
}
