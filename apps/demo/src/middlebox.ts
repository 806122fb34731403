import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** What a visitor's network lets through. */
export interface Network {
  readonly websocket: boolean
  readonly sse: boolean
  /** Anything of Crossfade. */
  readonly crossfade: boolean
}

const open: Network = { websocket: true, sse: true, crossfade: true }
const cookieName = 'demo_visitor'

/**
 * The visitor's corporate proxy: real refusals and real cut sockets, for one visitor alone. WebSocket upgrades are refused, event
 * streams are held back as a buffering proxy does, and everything below `/crossfade` can be blocked.
 */
export class Middlebox {
  readonly #networks = new Map<string, Network>()
  readonly #sockets = new Map<string, Map<Socket, 'websocket' | 'sse' | 'crossfade'>>()
  readonly #base: string

  constructor(base: string) {
    this.#base = base
  }

  install(app: FastifyInstance): void {
    app.addHook('onRequest', async (request, reply) => this.#judge(request, reply))
    app.get('/demo/network', async (request, reply) => {
      const visitor = this.#visitorOf(request) ?? randomUUID()
      void reply.setCookie(cookieName, visitor, { path: '/', httpOnly: true, sameSite: 'lax' })
      return this.#networks.get(visitor) ?? open
    })
    app.post<{ Body: Partial<Network> }>(
      '/demo/network',
      {
        schema: {
          body: {
            type: 'object',
            properties: { websocket: { type: 'boolean' }, sse: { type: 'boolean' }, crossfade: { type: 'boolean' } },
          },
        },
      },
      async (request, reply) => {
        const visitor = this.#visitorOf(request)
        if (visitor === null)
          return reply.code(400).send({ error: 'Open the page first: it gets its cookie from GET /demo/network.' })
        const network = { ...(this.#networks.get(visitor) ?? open), ...request.body }
        this.#networks.set(visitor, network)
        this.#cut(visitor, network)
        return network
      },
    )
  }

  async #judge(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | void> {
    const visitor = this.#visitorOf(request)
    if (visitor === null) return
    const network = this.#networks.get(visitor) ?? open
    const isCrossfade = request.url.startsWith(this.#base)
    const kind = kindOf(request)
    if (isCrossfade && !network.crossfade) return blocked(reply)
    if (kind === 'websocket' && !network.websocket) return blocked(reply)
    if (kind === 'sse' && !network.sse) holdBack(reply.raw)
    if (isCrossfade || kind === 'sse') this.#remember(visitor, request.raw.socket, kind ?? 'crossfade')
  }

  #visitorOf(request: FastifyRequest): string | null {
    return new RegExp(`(?:^|;\\s*)${cookieName}=([\\w-]+)`).exec(request.headers.cookie ?? '')?.[1] ?? null
  }

  #remember(visitor: string, socket: Socket, kind: 'websocket' | 'sse' | 'crossfade'): void {
    const sockets = this.#sockets.get(visitor) ?? new Map<Socket, 'websocket' | 'sse' | 'crossfade'>()
    this.#sockets.set(visitor, sockets)
    if (!sockets.has(socket)) socket.once('close', () => sockets.delete(socket))
    sockets.set(socket, kind)
  }

  /** A proxy that begins to block cuts what is open. */
  #cut(visitor: string, network: Network): void {
    for (const [socket, kind] of this.#sockets.get(visitor) ?? []) {
      if (!network.crossfade || (kind !== 'crossfade' && !network[kind])) socket.destroy()
    }
  }
}

function kindOf(request: FastifyRequest): 'websocket' | 'sse' | null {
  if (request.headers.upgrade?.toLowerCase() === 'websocket') return 'websocket'
  return request.headers.accept?.includes('text/event-stream') ? 'sse' : null
}

function blocked(reply: FastifyReply): FastifyReply {
  return reply.code(502).type('text/html').send('<html><body><h1>502 Blocked by your network</h1></body></html>')
}

/** Holds an answer's bytes back until it ends, as a buffering proxy does. */
function holdBack(answer: ServerResponse): void {
  const held: (() => void)[] = []
  const write = answer.write.bind(answer) as (...args: unknown[]) => boolean
  const end = answer.end.bind(answer) as (...args: unknown[]) => ServerResponse
  answer.flushHeaders = () => {}
  answer.write = ((...args: unknown[]) => {
    held.push(() => write(...args))
    return true
  }) as typeof answer.write
  answer.end = ((...args: unknown[]) => {
    for (const give of held.splice(0)) give()
    return end(...args)
  }) as typeof answer.end
}
