import Fastify from 'fastify'
import crossfade from '@crossfade/server'
import websocket from '@fastify/websocket'
import { WebSocketServer, type WebSocket } from 'ws'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

/** What is measured: a server that gives each of its subscribers every event. */
export interface Variant {
  readonly path: string
  /** What a client sends after the upgrade, if anything. */
  readonly greeting: string | null
  /** Starts it. @returns its port and what publishes `count` events at once. */
  start(): Promise<{ port: number; publish: (count: number) => void }>
}

const payload = { symbol: 'ACME', price: 12.5, at: 1_700_000_000_000, note: 'x'.repeat(40) }
const unlimited = { maxConnectionsPerAddress: 100_000, historyCount: 100 }

export const variants = {
  crossfade: {
    path: '/crossfade/ws',
    greeting: '{"type":"hello","protocol":1}\n{"type":"subscribe","id":"t","topic":"ticks"}',
    async start() {
      const app = Fastify()
      await app.register(crossfade, { limits: unlimited })
      app.crossfade.log('ticks', { public: true })
      await app.listen({ port: 0, host: '127.0.0.1' })
      const publish = (count: number): void => {
        for (let n = 0; n < count; n++) void app.crossfade.publish('ticks', 'tick', payload)
      }
      return { port: (app.server.address() as AddressInfo).port, publish }
    },
  },
  'ws-frame': {
    path: '/',
    greeting: null,
    async start() {
      const http = createServer()
      const server = new WebSocketServer({ server: http, perMessageDeflate: false })
      const sockets = new Set<Socket>()
      server.on('connection', (_socket: WebSocket, request) => sockets.add(request.socket))
      await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
      const publish = (count: number): void => {
        for (let n = 0; n < count; n++) {
          const text = Buffer.from(JSON.stringify(payload))
          const frame = Buffer.concat([
            Buffer.from([0x81, 126, text.length >> 8, text.length & 255]).subarray(0, text.length < 126 ? 2 : 4),
            text,
          ])
          if (text.length < 126) frame[1] = text.length
          for (const socket of sockets) socket.write(frame)
        }
      }
      return { port: (http.address() as AddressInfo).port, publish }
    },
  },
  'fastify-ws': {
    path: '/ws',
    greeting: null,
    async start() {
      const app = Fastify()
      await app.register(websocket)
      app.get('/ws', { websocket: true }, () => {})
      await app.listen({ port: 0, host: '127.0.0.1' })
      const publish = (count: number): void => {
        for (let n = 0; n < count; n++) {
          const text = JSON.stringify(payload)
          for (const client of app.websocketServer.clients) client.send(text)
        }
      }
      return { port: (app.server.address() as AddressInfo).port, publish }
    },
  },
} satisfies Record<string, Variant>

export type VariantName = keyof typeof variants
