import {
  formatCursor,
  formatHeader,
  hashValue,
  parseCursor,
  type ErrorCode,
  type ServerMessage,
  type Stage,
} from '@crossfade/protocol'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'

/** What goes wrong, on which path. */
export interface Script {
  /** `refuse`: 400. `hang`: no answer. `mute`: opened, and silent. `kill`: cut 50 ms after `hello`. `down`: as if nobody listened. */
  upgrade: 'pass' | 'refuse' | 'hang' | 'mute' | 'kill' | 'down'
  /** `hold`: nothing before the end. `lag`: late by one frame. `bye`: ends 150 ms after its proof, announced. */
  sse: 'pass' | 'refuse' | 'hold' | 'lag' | 'bye' | 'down'
  /** `cut`: held polls get 504 after 1.2 s. `break`: held polls are cut off at once. */
  poll: 'pass' | 'refuse' | 'cut' | 'break' | 'down'
  probe: 'pass' | 'down'
}

type Send = (messages: ServerMessage[]) => void

interface Position {
  id?: string
  cursor?: string
  mode?: string
}

interface Follower {
  readonly send: Send
  readonly ids: Map<string, string | undefined>
}

const epoch = 'aaaaaaaaaaaa'
const fine: Script = { upgrade: 'pass', sse: 'pass', poll: 'pass', probe: 'pass' }

/** A small server that keeps the contract where it is not told to break it. */
export class ScriptedServer {
  script: Script = { ...fine }
  /** Value topics: their values by offset. */
  readonly values = new Map<string, unknown[]>()
  /** Log topics: their events by offset, from 1. */
  readonly logs = new Map<string, unknown[]>()
  readonly forbidden = new Set<string>()
  /** Topics whose endpoint fails for the moment: with which code they are refused. */
  readonly failing = new Map<string, ErrorCode>()
  /** How often a topic was refused for that. */
  refusals = 0
  /** A topic that another connection follows is one too many on a WebSocket. */
  isCrowded = false
  /** Tokens that are accepted; `null`: none is needed. */
  tokens: Set<string> | null = null
  stage: Stage = 'push'
  /** Method and path of each request and upgrade. */
  readonly requests: string[] = []
  readonly bodies: { path: string; body: unknown; headers: IncomingMessage['headers'] }[] = []
  /** What clients said over WebSockets, frame by frame. */
  readonly frames: { type: string; [field: string]: unknown }[][] = []
  /** Answers of `POST /rpc/…`, the first at first; `null`: the connection is cut. */
  readonly calls: (object | null)[] = []
  readonly #http: Server
  readonly #webSockets = new WebSocketServer({ noServer: true })
  readonly #sockets = new Set<Socket | Duplex>()
  readonly #followers = new Set<Follower>()
  readonly #untold: ServerMessage[] = []
  readonly #closers = new Set<(code: number, retry: number | null) => void>()

  private constructor() {
    this.#http = createServer((request, response) => void this.#serve(request, response))
    this.#http.on('connection', (socket) => this.#track(socket))
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
  }

  static async start(): Promise<ScriptedServer> {
    const server = new ScriptedServer()
    server.#http.listen(0, '127.0.0.1')
    await once(server.#http, 'listening')
    return server
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`
  }

  heal(): void {
    this.script = { ...fine }
  }

  block(script: Partial<Script>): void {
    Object.assign(this.script, script)
  }

  set(topic: string, value: unknown): void {
    const values = this.values.get(topic) ?? []
    this.values.set(topic, [...values, value])
    this.#publish(topic, this.#snapshot(topic))
  }

  say(topic: string, data: unknown): void {
    const events = this.logs.get(topic) ?? []
    this.logs.set(topic, [...events, data])
    this.#publish(topic, this.#event(topic, events.length + 1))
  }

  /** To all who are connected; while nobody is, to the next poll. */
  tell(message: ServerMessage): void {
    if (this.#followers.size === 0) this.#untold.push(message)
    for (const { send } of this.#followers) send([message])
  }

  bye(code: number, retry: number | null): void {
    for (const close of this.#closers) close(code, retry)
  }

  killAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  count(request: string): number {
    return this.requests.filter((candidate) => candidate.startsWith(request)).length
  }

  async close(): Promise<void> {
    this.killAll()
    this.#http.close()
    await once(this.#http, 'close')
  }

  #track(socket: Socket | Duplex): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => {})
  }

  #publish(topic: string, message: ServerMessage): void {
    for (const { ids, send } of this.#followers) if (ids.has(topic)) send([message])
  }

  #snapshot(topic: string): ServerMessage {
    const values = this.values.get(topic) ?? []
    const data = values.at(-1)
    const cursor = formatCursor(epoch, values.length)
    return { type: 'event', topic, cursor, event: 'snapshot', data, hash: hashValue(data), at: 0 }
  }

  #event(topic: string, offset: number): ServerMessage {
    const data = this.logs.get(topic)?.[offset - 1]
    return { type: 'event', topic, cursor: formatCursor(epoch, offset), event: 'said', data, at: 0 }
  }

  /** What a subscription is answered with. */
  #join(topic: string, { id, cursor }: Position): ServerMessage[] {
    const names = { topic, ...(id === undefined ? {} : { id }) }
    if (this.forbidden.has(topic)) return [{ type: 'error', ...names, code: 'forbidden', message: 'Not yours.' }]
    const failure = this.failing.get(topic)
    if (failure !== undefined) {
      this.refusals += 1
      return [{ type: 'error', ...names, code: failure, message: 'Not now.' }]
    }
    const offset = cursor === undefined ? null : parseCursor(cursor).offset
    const started = { type: 'subscribed' as const, ...names, recovered: true }
    if (this.values.has(topic)) {
      const head = this.values.get(topic)?.length ?? 0
      const begun: ServerMessage = { ...started, kind: 'value', cursor: cursor ?? formatCursor(epoch, 0) }
      return offset === head ? [begun] : [begun, this.#snapshot(topic)]
    }
    const head = this.logs.get(topic)?.length ?? 0
    const from = offset ?? head
    const missed = Array.from({ length: head - from }, (_, n) => this.#event(topic, from + n + 1))
    return [{ ...started, kind: 'log', cursor: formatCursor(epoch, from) }, ...missed]
  }

  #hello(): ServerMessage {
    return { type: 'hello', protocol: 1, connection: 'c', heartbeat: 15_000, maxTopics: 256, at: Date.now() }
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.requests.push(`WS ${request.url}`)
    this.#track(socket)
    const { upgrade } = this.script
    if (upgrade === 'down') return void socket.destroy()
    if (upgrade === 'refuse') return void socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n')
    if (upgrade !== 'hang') this.#webSockets.handleUpgrade(request, socket, head, (ws) => this.#greet(ws, upgrade))
  }

  #greet(ws: WebSocket, upgrade: Script['upgrade']): void {
    const send: Send = (messages) => ws.send(messages.map((message) => JSON.stringify(message)).join('\n'))
    const follower: Follower = { send, ids: new Map() }
    const close = (code: number, retry: number | null): void => {
      send([{ type: 'bye', code, retry, message: '' }])
      ws.close(code)
    }
    this.#followers.add(follower)
    this.#closers.add(close)
    ws.on('error', () => {})
    ws.on('close', () => {
      this.#followers.delete(follower)
      this.#closers.delete(close)
    })
    ws.on('message', (data) => {
      const lines = String(data as Buffer)
        .split('\n')
        .map((line) => JSON.parse(line) as { type: string })
      this.frames.push(lines)
      if (upgrade === 'mute') return
      for (const line of lines) this.#hear(line, follower, ws, close)
      if (upgrade === 'kill') setTimeout(() => ws.terminate(), 50)
    })
  }

  #hear(
    line: object,
    { send, ids }: Follower,
    ws: WebSocket,
    close: (code: number, retry: number | null) => void,
  ): void {
    const message = line as { type: string; id: string; topic: string; token?: string; n: number }
    if (ws.readyState !== ws.OPEN) return
    switch (message.type) {
      case 'hello':
        if (this.tokens === null || this.tokens.has(message.token ?? '')) send([this.#hello()])
        else close(4401, 0)
        break
      case 'ping':
        send([{ type: 'heartbeat', at: Date.now(), n: message.n }])
        break
      case 'subscribe':
        if (this.isCrowded && [...this.#followers].some((other) => other.ids !== ids && other.ids.has(message.topic))) {
          const { id, topic } = message
          send([{ type: 'error', id, topic, code: 'too_many_topics', message: 'One too many.' }])
          break
        }
        ids.set(message.topic, message.id)
        send(this.#join(message.topic, message))
        break
      case 'unsubscribe':
        for (const [topic, id] of ids) if (id === message.id) ids.delete(topic)
        break
      default:
        break
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').split('?')[0] as string
    this.requests.push(`${request.method} ${request.url}`)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = (chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString())) as {
      topics: Record<string, Position>
      wait?: number
    }
    this.bodies.push({ path, body, headers: request.headers })
    if (path === '/crossfade/probe') this.#probe(response)
    else if (path === '/crossfade/sse') this.#stream(response, body.topics)
    else if (path === '/crossfade/poll') this.#poll(response, body.topics, body.wait ?? 0)
    else if (path.startsWith('/crossfade/rpc/')) this.#call(response)
    else this.#endpoint(response, path.slice('/api/'.length))
  }

  #probe(response: ServerResponse): void {
    if (this.script.probe === 'down') response.destroy()
    else response.writeHead(204).end()
  }

  #call(response: ServerResponse): void {
    const answer = this.calls.shift()
    if (answer === null) response.destroy()
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  }

  #endpoint(response: ServerResponse, topic: string): void {
    const value = this.values.get(topic)?.at(-1)
    const cursor = formatCursor(epoch, this.values.get(topic)?.length ?? 0)
    const { stage } = this
    const own = { topic, cursor, hash: hashValue(value), feature: 'f', stage, percent: 100, rest: 'off' as const }
    response.writeHead(200, {
      'content-type': 'application/json',
      crossfade: formatHeader({ ...own, base: '/crossfade' }),
    })
    response.end(JSON.stringify(value))
  }

  #stream(response: ServerResponse, topics: Record<string, Position>): void {
    const { sse } = this.script
    if (sse === 'down') return void response.destroy()
    if (sse === 'refuse') return void response.writeHead(403).end()
    let held = ''
    const write = (text: string): void => {
      if (sse === 'hold') held += text
      else if (sse === 'lag') {
        if (held !== '') response.write(held)
        held = text
      } else response.write(text)
    }
    const send: Send = (messages) => write(messages.map((message) => `data: ${JSON.stringify(message)}\n\n`).join(''))
    const follower: Follower = { send, ids: new Map(Object.keys(topics).map((topic) => [topic, undefined])) }
    const close = (code: number, retry: number | null): void => {
      send([{ type: 'bye', code, retry, message: '' }])
      this.#followers.delete(follower)
      response.end(held)
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    if (sse !== 'hold') response.flushHeaders()
    send([this.#hello(), ...Object.entries(topics).flatMap(([topic, position]) => this.#join(topic, position))])
    this.#followers.add(follower)
    this.#closers.add(close)
    // The second is timed from the first: a busy process must not send both at once.
    let beat = setTimeout(() => {
      send([{ type: 'heartbeat', at: Date.now(), n: 0 }])
      beat = setTimeout(() => {
        send([{ type: 'heartbeat', at: Date.now(), n: 1 }])
        if (sse === 'bye') beat = setTimeout(() => close(1001, 0), 150)
      }, 80)
    }, 80)
    const end = setTimeout(() => close(1001, 0), sse === 'hold' ? 2_000 : 60_000)
    response.on('close', () => {
      for (const timer of [beat, end]) clearTimeout(timer)
      this.#followers.delete(follower)
      this.#closers.delete(close)
    })
  }

  #poll(response: ServerResponse, topics: Record<string, Position>, waitMs: number): void {
    const { poll } = this.script
    if (poll === 'down' || (poll === 'break' && waitMs > 0)) return void response.destroy()
    if (poll === 'refuse') return void response.writeHead(502).end('<html>')
    const answer = (messages: ServerMessage[]): void => {
      const entries = Object.entries(topics).filter(([topic]) => !this.forbidden.has(topic) && !this.failing.has(topic))
      const positions = entries.map(([topic, { cursor }]) => [topic, { cursor: cursor ?? formatCursor(epoch, 0) }])
      if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ messages, topics: Object.fromEntries(positions), more: false }))
    }
    const joined = Object.entries(topics).flatMap(([topic, position]) => this.#join(topic, position))
    const now = [...this.#untold.splice(0), ...joined]
    const isRecovered = Object.values(topics).every(({ cursor }) => cursor !== undefined)
    const messages = isRecovered ? now.filter(({ type }) => type !== 'subscribed') : now
    if (waitMs === 0 || messages.length > 0) return answer(messages)
    const send: Send = (later) => {
      this.#followers.delete(follower)
      answer(later)
    }
    const follower: Follower = { send, ids: new Map(Object.keys(topics).map((topic) => [topic, undefined])) }
    this.#followers.add(follower)
    const timer = setTimeout(
      () => (poll === 'cut' ? response.writeHead(504).end('<html>') : answer([])),
      poll === 'cut' ? Math.min(waitMs, 1_200) : waitMs,
    )
    response.on('close', () => {
      clearTimeout(timer)
      this.#followers.delete(follower)
    })
  }
}
