import fastifyCookie from '@fastify/cookie'
import fastifyJwt from '@fastify/jwt'
import fastifyRateLimit from '@fastify/rate-limit'
import fastifySession from '@fastify/session'
import { CrossfadeError } from '@crossfade/protocol'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade from '../src/index.ts'
import { principalOf, until } from './endpoints.ts'
import { ofType } from './shop.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'

let app: FastifyInstance
let origin: string
const sockets: Socket[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.close()
  await app.close()
})

async function subscribed(topic: string, headers: Record<string, string>): Promise<Socket> {
  const socket = await Socket.greet(origin, undefined, { headers })
  sockets.push(socket)
  socket.send({ type: 'subscribe', id: topic, topic })
  return socket
}

describe('beside @fastify/rate-limit (D15)', () => {
  let runs: string[]
  async function open(options: Parameters<typeof fastifyRateLimit>[1]): Promise<void> {
    runs = []
    app = Fastify({ forceCloseConnections: true, trustProxy: true })
    await app.register(fastifyRateLimit, options as object)
    await app.register(crossfade, { authenticate: ({ headers }) => principalOf(headers.authorization) })
    for (const [kind, audience] of [
      ['own', 'principal'],
      ['news', 'public'],
    ] as const)
      app.get(`/${kind}/:id`, { config: { crossfade: { topic: `${kind}/:id`, audience } } }, async (request) => {
        if (request.crossfade !== null) runs.push(request.url)
        return { id: (request.params as { id: string }).id, n: runs.length }
      })
    origin = await app.listen({ host: '127.0.0.1', port: 0 })
  }

  it.each(['own', 'news'])(
    'with 10 requests an address, 30 visitors of 30 pages all get theirs, and what changes: %s',
    async (kind) => {
      await open({ max: 10, timeWindow: '1 minute' })
      const visitors = await Promise.all(
        Array.from({ length: 30 }, async (_, n) => {
          const headers = { 'x-forwarded-for': `203.0.113.${n}`, authorization: `Bearer user${n}` }
          const plain = await fetch(`${origin}/${kind}/${n}`, { headers })
          expect([n, plain.status]).toEqual([n, 200])
          return subscribed(`${kind}/${n}`, headers)
        }),
      )
      for (const [n, visitor] of visitors.entries())
        expect(await visitor.next('event')).toMatchObject({ data: { id: String(n) } })
      for (let n = 0; n < 30; n++) app.crossfade.invalidate(`${kind}/${n}`)
      for (const visitor of visitors) await visitor.next('event')
      for (const { messages } of visitors)
        expect([...ofType(messages, 'error'), ...ofType(messages, 'stale')]).toEqual([])
    },
    20_000,
  )

  it('refuses requests under {base} as too fast, for as long as it says (R40)', async () => {
    await open({ max: 1, timeWindow: '1 minute' })
    const request = { method: 'POST', url: '/crossfade/poll', payload: { topics: {} } } as const
    expect((await app.inject(request)).statusCode).toBe(200)
    const refused = await app.inject(request)
    expect({ status: refused.statusCode, body: refused.json<unknown>() }).toMatchObject({
      status: 429,
      body: { code: 'too_fast' },
    })
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(1)
  })

  it('that exempts runs by request.crossfade limits no load, and limits clients as before', async () => {
    // The documented recipe.
    await open({ max: 5, timeWindow: '1 minute', allowList: (request: FastifyRequest) => request.crossfade !== null })
    const headers = { 'x-forwarded-for': '203.0.113.1', authorization: 'Bearer ann' }
    const socket = await subscribed('own/1', headers)
    await socket.next('event')
    for (let n = 0; n < 20; n++) {
      app.crossfade.invalidate('own/1')
      await socket.next('event')
    }
    expect(runs.length).toBeGreaterThanOrEqual(21)
    const statuses = []
    for (let n = 0; n < 6; n++) statuses.push((await fetch(`${origin}/own/1`, { headers })).status)
    expect([statuses.filter((status) => status === 200).length > 0, statuses.at(-1)]).toEqual([true, 429])
  })
})

describe('beside @fastify/session with sessions that roll (D15)', () => {
  /** How often a session was stored, which prolongs it. */
  let stored: number
  let sid: string

  async function open(recipe: boolean): Promise<void> {
    stored = 0
    app = Fastify({ forceCloseConnections: true })
    const sessions = new Map<string, unknown>()
    await app.register(fastifyCookie)
    // The recipe of the documentation: registered before the session plugin, whose own hook finds nothing to prolong.
    if (recipe)
      app.addHook('onSend', async (request) => {
        if (request.crossfade !== null) Object.assign(request, { session: null })
      })
    await app.register(fastifySession, {
      secret: 's'.repeat(32),
      rolling: true,
      cookie: { secure: false, maxAge: 60_000 },
      store: {
        get: (id, done) => done(null, (sessions.get(id) ?? null) as null),
        set: (id, session, done) => {
          stored += 1
          sessions.set(id, session)
          done()
        },
        destroy: (id, done) => {
          sessions.delete(id)
          done()
        },
      },
    })
    await app.register(crossfade, {
      authenticate: ({ headers }) => {
        const cookie = /sessionId=([^;]+)/.exec(String(headers.cookie))?.[1]
        return cookie === undefined ? null : { id: cookie }
      },
      grantMs: 50,
      reauthorizeMs: 50,
    })
    app.get('/login', async (request) => {
      Object.assign(request.session, { user: 'ann' })
      return { ok: true }
    })
    const config = (topic: string) => ({ config: { crossfade: { topic } } })
    app.get('/me', config('me'), async ({ session }, reply) =>
      'user' in session ? { user: session.user, n: (count += 1) } : reply.code(401).send({ error: 'login' }),
    )
    app.get(
      '/talk',
      { config: { crossfade: { log: 'talk', key: 'id' } } },
      async ({ session, crossfade: kind }, reply) => {
        if (kind === 'check') checks += 1
        return 'user' in session ? [] : reply.code(401).send({ error: 'login' })
      },
    )
    origin = await app.listen({ host: '127.0.0.1', port: 0 })
    sid = String((await fetch(`${origin}/login`)).headers.get('set-cookie')).split(';')[0] as string
  }
  let count = 0
  let checks = 0

  /** Loads and checks happen; says how often the session was stored meanwhile. */
  async function storedByRuns(): Promise<{ stored: number; heard: string }> {
    const socket = await subscribed('me', { cookie: sid })
    await socket.next('event')
    socket.send({ type: 'subscribe', id: 'talk', topic: 'talk' })
    await socket.next('subscribed')
    const [before, checked] = [stored, checks]
    for (let n = 0; n < 5; n++) {
      app.crossfade.invalidate('me')
      await socket.next('event')
    }
    await until(() => checks >= checked + 2)
    return { stored: stored - before, heard: JSON.stringify(socket.messages) }
  }

  it('the recipe keeps loads and checks from prolonging a session, and its own requests prolong it', async () => {
    await open(true)
    const { stored: byRuns, heard } = await storedByRuns()
    expect(byRuns).toBe(0)
    expect(heard).not.toMatch(/set-cookie|sessionId/i)
    const before = stored
    const plain = await fetch(`${origin}/me`, { headers: { cookie: sid } })
    expect([plain.status, stored]).toEqual([200, before + 1])
    expect(plain.headers.get('set-cookie')).toContain('sessionId=')
  })

  it('without it each run prolongs the session, as a request would, and no Set-Cookie of a run reaches a client', async () => {
    await open(false)
    const { stored: byRuns, heard } = await storedByRuns()
    expect(byRuns).toBeGreaterThanOrEqual(7)
    expect(heard).not.toMatch(/set-cookie|sessionId/i)
    const response = await fetch(`${origin}/crossfade/poll`, {
      method: 'POST',
      headers: { cookie: sid, 'content-type': 'application/json' },
      body: JSON.stringify({ topics: { me: {} } }),
    })
    // The session plugin prolongs by the poll itself; the run's own cookie is not passed on.
    expect(response.headers.getSetCookie().length).toBeLessThanOrEqual(1)
  })
})

describe('beside @fastify/jwt with cookies (D15)', () => {
  it('a route behind jwtVerify is pushed on every transport to clients with the cookie, and to nobody else', async () => {
    app = Fastify({ forceCloseConnections: true })
    await app.register(fastifyCookie)
    await app.register(fastifyJwt, { secret: 'x'.repeat(32), cookie: { cookieName: 'token', signed: false } })
    await app.register(crossfade, {
      authenticate: ({ headers }) => {
        const token = /token=([^;]+)/.exec(String(headers.cookie))?.[1]
        if (token === undefined) return null
        try {
          return app.jwt.verify<{ id: string }>(token)
        } catch {
          throw new CrossfadeError('unauthenticated', 'The token is not good.')
        }
      },
    })
    let version = 1
    const verified = { onRequest: (request: FastifyRequest) => request.jwtVerify() }
    app.get('/me', { ...verified, config: { crossfade: { topic: 'me' } } }, async ({ user }) => ({ user, version }))
    app.get('/talk', { ...verified, config: { crossfade: { log: 'talk', key: 'id' } } }, async () => [])
    origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const cookie = `token=${app.jwt.sign({ id: 'ann' })}`
    const topics = { me: {}, talk: {} }
    const poll = async (headers: Record<string, string>, wait = 0) =>
      (await app.inject({ method: 'POST', url: '/crossfade/poll', headers, payload: { topics, wait } })).json()

    const socket = await subscribed('me', { cookie })
    const stream = await Stream.open(`${origin}/crossfade/sse`, { headers: { cookie }, body: { topics } })
    const native = await Stream.open(`${origin}/me`, { headers: { cookie, accept: 'text/event-stream' } })
    expect(await poll({ cookie })).toMatchObject({ topics: { me: {}, talk: {} } })
    const { etag } = (await app.inject({ url: '/me', headers: { cookie } })).headers
    const held = app.inject({ url: '/me', headers: { cookie, prefer: 'wait=20', 'if-none-match': String(etag) } })
    const readers = [socket, stream, native]
    await until(() => readers.every(({ messages }) => ofType(messages, 'event').length === 1))
    await expect.poll(async () => (await app.inject('/crossfade/health')).json()).toMatchObject({ connections: 4 })
    version = 2
    app.crossfade.invalidate('me')
    await until(() => readers.every(({ messages }) => JSON.stringify(messages).includes('"value":2')))
    expect((await held).json()).toMatchObject({ user: { id: 'ann' }, version: 2 })

    for (const [headers, code] of [
      [{}, 'unauthenticated'],
      [{ cookie: 'other=1' }, 'unauthenticated'],
    ] as const)
      expect(ofType((await poll(headers)).messages, 'error').map((error) => error.code)).toEqual([code, code])
    expect(await poll({ cookie: 'token=forged' })).toMatchObject({ code: 'unauthenticated' })
    for (const reader of [stream, native]) reader.close()
  })
})
