import { Readable } from 'node:stream'
import compress from '@fastify/compress'
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import etag from '@fastify/etag'
import helmet from '@fastify/helmet'
import jwt from '@fastify/jwt'
import rateLimit from '@fastify/rate-limit'
import session from '@fastify/session'
import swagger from '@fastify/swagger'
import underPressure from '@fastify/under-pressure'
import websocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import { Server as SocketIo } from 'socket.io'
import { io } from 'socket.io-client'
import { WebSocket } from 'ws'
import type { Ask } from './requests.ts'

/** A product with a neighbour of our plugin in it. */
export interface Product {
  /** Name of the npm package. */
  readonly name: string
  /** Registers the package, as its README does. */
  register(app: FastifyInstance): unknown
  /** Routes that use it, besides those that every product has. */
  routes?(app: FastifyInstance): void
  /** Requests that show it, besides those that every product is asked. */
  readonly asks?: readonly Ask[]
  /** A conversation over another protocol. @returns what was said. */
  talk?(origin: string): Promise<readonly string[]>
}

const secret = 'a secret with a minimum length of 32 characters'
const token = { cookie: 'user=ann; token=eyJhbGciOiJub25lIn0.e30.' }

const each: readonly Product[] = [
  {
    name: '@fastify/compress',
    register: (app) => app.register(compress, { threshold: 100 }),
    routes: (app) => {
      app.get('/compressed', (_request, reply) => reply.type('text/plain').compress(Readable.from(['a'.repeat(5_000)])))
    },
    asks: [{ path: '/compressed', headers: { 'accept-encoding': 'br' } }],
  },
  { name: '@fastify/etag', register: (app) => app.register(etag) },
  { name: '@fastify/helmet', register: (app) => app.register(helmet, { hsts: { preload: true } }) },
  {
    name: '@fastify/cors',
    register: (app) =>
      app.register(cors, {
        origin: ['https://shop.example'],
        credentials: true,
        exposedHeaders: ['X-Total'],
        maxAge: 60,
      }),
    asks: [{ path: '/api/items', headers: { origin: 'https://evil.example' } }],
  },
  {
    name: '@fastify/rate-limit',
    register: (app) => app.register(rateLimit, { max: 500, timeWindow: '1 hour' }),
    routes: (app) => {
      const config = { rateLimit: { max: 2, timeWindow: '1 hour' } }
      app.get('/scarce', { config }, () => 'scarce')
    },
    asks: Array.from({ length: 3 }, () => ({ path: '/scarce' })),
  },
  {
    name: '@fastify/cookie',
    register: registerCookies,
    routes: (app) => {
      app.get('/signed', (request, reply) =>
        reply.setCookie('signed', 'yes', { signed: true, httpOnly: true }).send(request.cookies),
      )
    },
    asks: [{ path: '/signed', headers: token }],
  },
  {
    name: '@fastify/session',
    register: async (app) => {
      await registerCookies(app)
      await app.register(session, { secret, cookie: { secure: false, maxAge: 60_000 }, rolling: true })
    },
    routes: (app) => {
      app.get('/visits', (request) => {
        const visits = ((request.session.get('visits' as never) as number | undefined) ?? 0) + 1
        request.session.set('visits' as never, visits as never)
        return { visits }
      })
    },
    asks: [{ path: '/visits' }, { path: '/visits', keepsCookies: true }, { path: '/api/items', keepsCookies: true }],
  },
  {
    name: '@fastify/jwt',
    register: async (app) => {
      await registerCookies(app)
      await app.register(jwt, { secret, cookie: { cookieName: 'token', signed: false } })
    },
    routes: (app) => {
      app.get('/login', (_request, reply) => {
        const signed = app.jwt.sign({ sub: 'ann' }, { noTimestamp: true })
        return reply.setCookie('token', signed, { path: '/' }).send({ ok: true })
      })
      const config = { crossfade: { topic: 'profile', audience: 'public' } } as const
      app.get('/profile', { config, onRequest: (request) => request.jwtVerify() }, (request) => ({
        user: request.user,
      }))
    },
    asks: [
      { path: '/profile' },
      { path: '/profile', headers: token },
      { path: '/login' },
      { path: '/profile', keepsCookies: true },
    ],
  },
  {
    name: '@fastify/swagger',
    register: (app) => app.register(swagger, { openapi: { info: { title: 'product', version: '1' } } }),
    routes: (app) => {
      app.get('/openapi.json', () => app.swagger())
    },
    asks: [{ path: '/openapi.json' }],
  },
  {
    name: '@fastify/under-pressure',
    register: (app) => app.register(underPressure, { maxEventLoopDelay: 60_000, exposeStatusRoute: true }),
    asks: [{ path: '/status' }],
  },
  {
    name: '@fastify/websocket',
    register: (app) => app.register(websocket, { options: { maxPayload: 200_000 } }),
    routes: (app) => {
      app.get('/chat', { websocket: true }, (socket) => {
        socket.on('message', (data) => socket.send((data as Buffer).toString().toUpperCase()))
      })
    },
    asks: [{ path: '/chat' }],
    talk: (origin) => chat(`${origin}/chat`),
  },
  {
    name: 'socket.io',
    register: (app) => {
      const server = new SocketIo(app.server)
      server.on('connection', (socket) =>
        socket.on('say', (text: string, answer: (said: string) => void) => answer(text)),
      )
      app.addHook('preClose', () => server.close())
    },
    asks: [{ path: '/socket.io/?EIO=4' }, { path: '/socket.io/?EIO=4&transport=polling' }],
    talk: async (origin) => {
      const said: string[] = []
      for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
        const client = io(origin, { transports, forceNew: true })
        said.push((await client.emitWithAck('say', transports.join('+'))) as string)
        client.close()
      }
      return said
    },
  },
]

/** All of them in one product, but socket.io: it and @fastify/websocket each answer the upgrades of the other. */
const compatible = each.filter(({ name }) => name !== 'socket.io')
const together: Product = {
  name: 'all together',
  register: async (app) => {
    for (const product of compatible) await product.register(app)
  },
  routes: (app) => {
    for (const product of compatible) product.routes?.(app)
  },
  asks: compatible.flatMap(({ asks = [] }) => asks),
  talk: async (origin) => {
    const said: string[] = []
    for (const product of compatible) said.push(...((await product.talk?.(origin)) ?? []))
    return said
  },
}

export const products: readonly Product[] = [...each, together]

async function registerCookies(app: FastifyInstance): Promise<void> {
  if (!app.hasPlugin('@fastify/cookie')) await app.register(cookie, { secret })
}

async function chat(url: string): Promise<readonly string[]> {
  const socket = new WebSocket(url.replace('http', 'ws'))
  const said: string[] = []
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject)
    socket.on('open', () => socket.send('hello'))
    socket.on('message', (data) => {
      said.push((data as Buffer).toString().slice(0, 20))
      // Beyond our own limit of a message, within the product's; then beyond that.
      if (said.length === 1) socket.send('b'.repeat(150_000))
      else socket.send('c'.repeat(250_000))
    })
    socket.on('close', (code) => {
      said.push(String(code))
      resolve()
    })
  })
  return said
}
