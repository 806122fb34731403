import Fastify, { type FastifyInstance } from 'fastify'
import crossfade from '@crossfade/server'
import websocket from '@fastify/websocket'
import { createChannel, createSession } from 'better-sse'
import { WebSocketServer, type WebSocket } from 'ws'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

/** What is measured: a server that gives each of its subscribers every event. */
export interface Variant {
  readonly transport: 'websocket' | 'sse'
  readonly path: string
  /** What a client sends after the upgrade, if anything. */
  readonly greeting: string | null
  /** Starts it. @returns its port and what publishes `count` events at once. */
  start(): Promise<{ port: number; publish: (count: number) => void }>
}

/** The variant that the others of its transport are compared with. */
export const floors = { websocket: 'ws-frame', sse: 'node-sse' } as const

const payload = { symbol: 'ACME', price: 12.5, at: 1_700_000_000_000, note: 'x'.repeat(40) }
const unlimited = {
  maxConnectionsPerAddress: 100_000,
  messagesPerSecond: 100_000,
  messageBurst: 100_000,
  historyCount: 100,
}

export const variants = {
  crossfade: {
    transport: 'websocket',
    path: '/crossfade/ws',
    greeting: '{"type":"hello","protocol":1}\n{"type":"subscribe","id":"t","topic":"ticks"}',
    start: startCrossfade,
  },
  'ws-frame': {
    transport: 'websocket',
    path: '/',
    greeting: null,
    async start() {
      const http = createServer()
      const server = new WebSocketServer({ server: http, perMessageDeflate: false })
      const sockets = new Set<Socket>()
      server.on('connection', (_socket: WebSocket, request) => sockets.add(request.socket))
      const port = await listening(http)
      return { port, publish: (count) => times(count, () => writeToAll(sockets, textFrame(JSON.stringify(payload)))) }
    },
  },
  'fastify-ws': {
    transport: 'websocket',
    path: '/ws',
    greeting: null,
    async start() {
      const app = Fastify()
      await app.register(websocket)
      app.get('/ws', { websocket: true }, () => {})
      const port = await served(app)
      const sendToAll = (): void => {
        const text = JSON.stringify(payload)
        for (const client of app.websocketServer.clients) client.send(text)
      }
      return { port, publish: (count) => times(count, sendToAll) }
    },
  },
  'crossfade-sse': {
    transport: 'sse',
    path: '/crossfade/sse?topic=ticks',
    greeting: null,
    start: startCrossfade,
  },
  'node-sse': {
    transport: 'sse',
    path: '/',
    greeting: null,
    async start() {
      const sockets = new Set<Socket>()
      const http = createServer((request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
        sockets.add(request.socket)
      })
      const port = await listening(http)
      return { port, publish: (count) => times(count, () => writeToAll(sockets, sseChunk(JSON.stringify(payload)))) }
    },
  },
  'better-sse': {
    transport: 'sse',
    path: '/',
    greeting: null,
    async start() {
      const channel = createChannel()
      const http = createServer((request, response) => {
        void createSession(request, response).then((session) => channel.register(session))
      })
      const port = await listening(http)
      return { port, publish: (count) => times(count, () => channel.broadcast(payload)) }
    },
  },
} satisfies Record<string, Variant>

export type VariantName = keyof typeof variants

async function startCrossfade(): Promise<{ port: number; publish: (count: number) => void }> {
  const app = Fastify()
  await app.register(crossfade, { limits: unlimited })
  app.crossfade.log('ticks', { public: true })
  const port = await served(app)
  return { port, publish: (count) => times(count, () => void app.crossfade.publish('ticks', 'tick', payload)) }
}

async function served(app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

async function listening(http: Server): Promise<number> {
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return (http.address() as AddressInfo).port
}

function times(count: number, act: () => void): void {
  for (let n = 0; n < count; n++) act()
}

function writeToAll(sockets: Set<Socket>, bytes: Buffer): void {
  for (const socket of sockets) socket.write(bytes)
}

/** A text frame of less than 64 KiB. */
function textFrame(text: string): Buffer {
  const bytes = Buffer.from(text)
  const head = bytes.length < 126 ? [0x81, bytes.length] : [0x81, 126, bytes.length >> 8, bytes.length & 255]
  return Buffer.concat([Buffer.from(head), bytes])
}

/** An event as one chunk of HTTP/1.1 chunked coding. */
function sseChunk(text: string): Buffer {
  const event = `data: ${text}\n\n`
  return Buffer.from(`${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`)
}
