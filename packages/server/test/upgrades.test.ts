import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect, type Socket as TcpSocket } from 'node:net'
import type { Duplex } from 'node:stream'
import websocket from '@fastify/websocket'
import { subprotocol } from '@crossfade/protocol'
import Fastify, { type FastifyInstance } from 'fastify'
import { Server as SocketIo } from 'socket.io'
import { io } from 'socket.io-client'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer, type ClientOptions } from 'ws'
import crossfade from '../src/index.ts'
import { Socket } from './socket.ts'

let app: FastifyInstance
let warnings: Error[]
/** When all earlier `preClose` hooks are done. */
let ended: Promise<void>
const warned = (warning: Error): number => warnings.push(warning)
beforeEach(() => {
  warnings = []
  process.on('warning', warned)
  app = Fastify({ forceCloseConnections: true })
})
afterEach(async () => {
  await app.close()
  process.off('warning', warned)
})

/** Builds the product with our plugin before or after its own part, and listens. */
async function listen(order: 'before' | 'after', product: () => unknown): Promise<string> {
  const plugin = async (): Promise<void> => {
    await app.register(crossfade)
    app.get('/value', { config: { crossfade: { topic: 'value', audience: 'public' } } }, () => ({ v: 1 }))
  }
  if (order === 'before') await plugin()
  await product()
  if (order === 'after') await plugin()
  ended = new Promise((resolve) => app.addHook('preClose', async () => resolve()))
  return app.listen({ host: '127.0.0.1', port: 0 })
}

/** Opens a WebSocket of the product, sends something and returns the answer. */
async function echoed(url: string, message: string, options: ClientOptions = {}): Promise<string> {
  const socket = new WebSocket(url.replace('http', 'ws'), options)
  await once(socket, 'open')
  socket.send(message)
  const [answer] = (await once(socket, 'message')) as [Buffer]
  socket.close()
  return answer.toString()
}

/** Our own WebSocket with our own options: R30, the limit of §8, no compression (R24). */
async function expectOurs(origin: string): Promise<void> {
  const socket = await Socket.greet(origin)
  expect(socket.raw.protocol).toBe(subprotocol)
  expect(socket.raw.extensions).toBe('')
  socket.send({ type: 'subscribe', id: 'v', topic: 'value' })
  expect(await socket.next('event')).toMatchObject({ data: { v: 1 } })
  socket.raw.send('x'.repeat(70_000))
  expect((await socket.closed).code).toBe(1009)
}

describe.each(['before', 'after'] as const)('an upgrade of the product, our plugin registered %s it', (order) => {
  it('goes to its own @fastify/websocket, whose options stay its own (R10, D22)', async () => {
    const origin = await listen(order, async () => {
      await app.register(websocket, {
        options: { maxPayload: 1_048_576, perMessageDeflate: true, handleProtocols: () => 'product' },
      })
      app.get('/echo', { websocket: true }, (socket) => {
        socket.on('message', (data) => socket.send(data as Buffer))
      })
      app.get('/plain', () => 'plain')
    })
    const message = 'y'.repeat(200_000)
    expect(await echoed(`${origin}/echo`, message)).toBe(message)
    const own = new WebSocket(`${origin.replace('http', 'ws')}/echo`, ['product'])
    await once(own, 'open')
    expect([own.protocol, own.extensions]).toEqual(['product', 'permessage-deflate'])
    own.terminate()
    await expectOurs(origin)
    expect(await (await fetch(`${origin}/plain`)).text()).toBe('plain')
  })

  it('goes to socket.io (R10, D22)', async () => {
    let server: SocketIo | undefined
    const origin = await listen(order, () => {
      server = new SocketIo(app.server)
      server.on('connection', (socket) =>
        socket.on('say', (text: string, answer: (text: string) => void) => answer(text)),
      )
    })
    for (const transports of [['websocket'], ['polling', 'websocket']]) {
      const client = io(origin, { transports, forceNew: true })
      expect(await client.emitWithAck('say', 'hello')).toBe('hello')
      client.close()
    }
    await expectOurs(origin)
    await server?.close()
  })

  it('goes to its own upgrade listener, which sees none of ours (R10, D22)', async () => {
    const seen: string[] = []
    const origin = await listen(order, () => {
      app.server.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
        seen.push(request.url ?? '')
        socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tunnel\r\n\r\nproduct')
      })
    })
    expect(await exchange(origin, upgrade('/tunnel', 'tunnel'), 'product')).toContain('101')
    expect(await exchange(origin, upgrade('/crossfadeish/ws', 'websocket'), 'product')).toContain('101')
    await expectOurs(origin)
    expect(await exchange(origin, upgrade('/crossfade/probe', 'h2c'), '\r\n\r\n')).toContain('204')
    expect(seen).toEqual(['/tunnel', '/crossfadeish/ws'])
  })

  it('goes to a ws server that takes all upgrades (R10, D22)', async () => {
    let server: WebSocketServer | undefined
    const origin = await listen(order, () => {
      server = new WebSocketServer({ server: app.server })
      server.on('connection', (socket) => socket.on('message', (data) => socket.send(data as Buffer)))
    })
    expect(await echoed(`${origin}/any`, 'hello')).toBe('hello')
    await expectOurs(origin)
    server?.close()
  })

  it('is not cut off by our drain: the product says goodbye itself (R10, D22)', async () => {
    app = Fastify()
    let tunnel: Duplex | undefined
    const origin = await listen(order, () => {
      app.server.on('upgrade', (_request, socket: Duplex) => {
        tunnel = socket
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tunnel\r\n\r\n')
      })
    })
    const read = exchange(origin, upgrade('/tunnel', 'tunnel'), 'goodbye')
    await expect.poll(() => tunnel).toBeDefined()
    const ours = await Socket.greet(origin)
    const closed = app.close()
    expect((await ours.closed).code).toBe(1001)
    await ended
    tunnel?.end('goodbye')
    expect(await read).toContain('goodbye')
    await closed
  })
})

describe('a request for an upgrade that nobody handles', () => {
  it.each(['h2c', 'websocket', 'TLS/1.0'])('to %s is ignored, as without the plugin (R10, D22)', async (protocol) => {
    const origin = await listen('before', () => {
      app.get('/hello', (request) => `hello ${request.headers.upgrade ?? ''}`)
    })
    expect(await exchange(origin, upgrade('/hello', protocol), 'hello')).toContain(`hello ${protocol}`)
  })

  it('keeps the body of its request, its connection and what follows on it (R10, D22)', async () => {
    const seen: unknown[] = []
    const origin = await listen('before', () => {
      app.post('/say', async (request) => {
        seen.push(request.body)
        return { n: seen.length }
      })
    })
    const { hostname, port } = new URL(origin)
    const client = connect(Number(port), hostname)
    let answers = ''
    client.on('data', (chunk) => (answers += String(chunk)))
    for (let n = 1; n <= 15; n++) {
      const body = JSON.stringify({ n, text: 'ä'.repeat(n * 1000) })
      client.write(
        `POST /say HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`,
      )
      client.write(body)
      await expect.poll(() => answers).toContain(`{"n":${n}}`)
    }
    client.write('GET /value HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    await once(client, 'close')
    expect(answers).toContain('{"v":1}')
    expect(seen).toHaveLength(15)
    expect(warnings).toEqual([])
    expect(seen[14]).toEqual({ n: 15, text: 'ä'.repeat(15_000) })
  })

  it('under {base} is a plain request too, even if others listen for upgrades', async () => {
    const origin = await listen('before', () => new SocketIo(app.server))
    expect(await exchange(origin, upgrade('/crossfade/health', 'h2c'), '"ok":true')).toContain('200')
  })
})

const upgrade = (path: string, protocol: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`

/** Sends bytes and reads until a text comes. */
async function exchange(origin: string, bytes: string, until: string): Promise<string> {
  const { hostname, port } = new URL(origin)
  const socket: TcpSocket = connect(Number(port), hostname)
  socket.on('error', () => {})
  let read = ''
  socket.write(bytes)
  for await (const chunk of socket) {
    read += String(chunk)
    if (read.includes(until)) break
  }
  return read
}
