import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'

/** A request to a product. */
export interface Ask {
  readonly path: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Sends the cookies that were set before. */
  readonly keepsCookies?: boolean
  /** With the entity tag that the plain product gave to the same request before. */
  readonly isConditional?: boolean
}

/** An answer, without what differs between two runs of the same product. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly body: string
}

const preflight = {
  origin: 'https://shop.example',
  'access-control-request-method': 'GET',
  'access-control-request-headers': 'x-own',
}
const pages = ['/api/items', '/api/bytes', '/api/stream', '/api/response', '/api/log', '/plain', '/page']

/** What every product is asked: the wrapped routes and others, in all the ways in which a neighbour might change an answer. */
export const asks: readonly Ask[] = [
  ...pages.map((path) => ({ path })),
  ...pages.map((path) => ({ path, method: 'HEAD' })),
  ...pages.map((path) => ({ path, isConditional: true })),
  ...['gzip', 'br', 'deflate', 'identity', '*'].flatMap((encoding) =>
    pages.map((path) => ({ path, headers: { 'accept-encoding': encoding } })),
  ),
  ...['/api/items', '/page', '/missing'].flatMap((path) => [
    { path, method: 'OPTIONS', headers: preflight },
    { path, headers: { origin: 'https://shop.example' } },
    { path, headers: { cookie: 'user=ann; other=1' } },
  ]),
  { path: '/api/items?page=2' },
  { path: '/api/items', headers: { range: 'bytes=0-10' } },
  { path: '/api/items', headers: { accept: 'text/html' } },
  { path: '/api/items', method: 'POST', body: '{"a":1}' },
  { path: '/api/me' },
  { path: '/api/me', headers: { cookie: 'user=ann' } },
  ...['/missing', '/error', '/refused', '/redirect', '/nothing', '/api/items/7'].map((path) => ({ path })),
  ...['/echo', '/missing'].flatMap((path) =>
    ['{"a":1}', '{', ''].map((body) => ({
      path,
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    })),
  ),
]

/** Wishes for another protocol that no route grants. */
export const upgrades: readonly string[] = ['/', '/api/items', '/plain', '/missing', '/crossfades/ws'].flatMap((path) =>
  ['websocket', 'h2c', 'tls/1.2'].map(
    (protocol) =>
      `GET ${path} HTTP/1.1\r\nHost: product\r\nConnection: close, Upgrade\r\nUpgrade: ${protocol}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  ),
)

/** How long an answer is waited for. */
const patienceMs = 5_000

/** One client of one product; it keeps its cookies. */
export class Visitor {
  readonly #origin: string
  readonly #cookies = new Map<string, string>()

  constructor(origin: string) {
    this.#origin = origin
  }

  /** Sends bytes as they are, and reads until the product ends the connection. */
  async sendRaw(bytes: string): Promise<string> {
    const { hostname, port } = new URL(this.#origin)
    const socket = connect(Number(port), hostname)
    socket.on('error', () => {})
    // A product that leaves the connection open does so with and without our plugin.
    socket.setTimeout(patienceMs, () => socket.destroy())
    let read = ''
    socket.on('data', (chunk) => {
      read += chunk.toString('latin1')
      // A WebSocket that is closed at once: the server waits for our close frame.
      if (read.startsWith('HTTP/1.1 101') && read.includes('\x88')) socket.end()
    })
    socket.write(bytes)
    await once(socket, 'close')
    return read
  }

  async ask({ path, method = 'GET', headers, body, keepsCookies }: Ask): Promise<Answer> {
    const cookie = [...this.#cookies].map((pair) => pair.join('=')).join('; ')
    const sent = httpRequest(this.#origin + path, {
      method,
      agent: false,
      signal: AbortSignal.timeout(patienceMs),
      headers: { ...headers, ...(keepsCookies === true && cookie !== '' ? { cookie } : {}) },
    })
    sent.end(body)
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    const chunks: Buffer[] = []
    response.on('data', (chunk: Buffer) => chunks.push(chunk))
    await once(response, 'end')
    for (const line of response.headers['set-cookie'] ?? []) this.#keep(line)
    const byName: Record<string, string[]> = {}
    for (const [name, values = []] of Object.entries(response.headersDistinct))
      byName[name] = values.map((value) => settled(name, value))
    return {
      status: response.statusCode ?? 0,
      headers: byName,
      body: settledBody(Buffer.concat(chunks).toString('latin1')),
    }
  }

  #keep(line: string): void {
    const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
    this.#cookies.set(name, value)
  }
}

/** Without what is drawn by lot or told by a clock. */
function settled(name: string, value: string): string {
  if (name === 'date' || name === 'x-ratelimit-reset' || name === 'retry-after') return name
  if (name === 'set-cookie') return value.replace(/^(sessionId)=[^;]*/, '$1=…').replace(/Expires=[^;]*/, 'Expires=…')
  return value
}

function settledBody(body: string): string {
  return body.replace(/"sid":"[^"]*"/, '"sid":"…"').replace(/"timestamp":\d+|retry in [^"]*/g, '…')
}
