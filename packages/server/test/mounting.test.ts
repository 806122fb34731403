import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { connect as connectHttp2, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { connect as connectTls } from 'node:tls'
import swagger from '@fastify/swagger'
import { parseHeader, parsePollAnswer, SseParser, type ServerMessage } from '@crossfade/protocol'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade from '../src/index.ts'
import { certificate } from './certificate.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'
import { ofType } from './shop.ts'

let app: FastifyInstance
afterEach(() => app.close())

const product = async (scope: FastifyInstance): Promise<void> => {
  await scope.register(crossfade)
  scope.get<{ Params: { id: string } }>(
    '/orders/:id',
    { config: { crossfade: { topic: 'orders/:id', audience: 'public' } } },
    ({ params }) => ({ id: params.id }),
  )
}

/** Follows the endpoint as a client does: by what its header says. */
async function follow(origin: string, path: string): Promise<{ base: string; topic: string }> {
  const answer = await fetch(origin + path)
  const header = parseHeader(answer.headers.get('crossfade') ?? '')
  if (header === null) throw new Error(`no header on ${path}: ${answer.status}`)
  return { base: header.base, topic: header.topic }
}

describe('in two places', () => {
  it('each has its own upgrades, and requests that belong to neither stay plain (R10, D22)', async () => {
    app = Fastify({ forceCloseConnections: true })
    await app.register(product, { prefix: '/a' })
    await app.register(product, { prefix: '/b' })
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    for (const place of ['/a', '/b']) {
      const { base, topic } = await follow(origin, `${place}/orders/7`)
      const socket = await Socket.open(origin, { path: `${base}/ws` })
      socket.send({ type: 'hello', protocol: 1 }, { type: 'subscribe', id: 'o', topic })
      expect(await socket.next('event')).toMatchObject({ data: { id: '7' } })
      socket.close()
    }
    const plain = request(`${origin}/a/orders/8`, { headers: { connection: 'upgrade', upgrade: 'h2c' } }).end()
    const [answer] = (await once(plain, 'response')) as [IncomingMessage]
    answer.resume()
    expect(answer.statusCode).toBe(200)
  })
})

describe('inside a prefix', () => {
  it.each([
    ['/v1', '/v1'],
    ['/v1/', '/v1'],
    ['v1', '/v1'],
    ['/', ''],
  ])('%s, base is the real path and everything under it is there (R10)', async (prefix, path) => {
    app = Fastify({ forceCloseConnections: true })
    await app.register(product, { prefix })
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const { base, topic } = await follow(origin, `${path}/orders/7`)
    expect(base).toBe(`${path}/crossfade`)
    expect((await fetch(`${origin}${base}/probe`)).status).toBe(204)
    const polled = await fetch(`${origin}${base}/poll`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ topics: { [topic]: {} } }),
    })
    expect(ofType(parsePollAnswer(await polled.json()).messages, 'event')[0]).toMatchObject({ data: { id: '7' } })
    const stream = await Stream.open(`${origin}${base}/sse?topic=${topic}`)
    await expect.poll(() => ofType(stream.messages, 'event').length).toBe(1)
    stream.close()
    const socket = await Socket.open(origin, { path: `${base}/ws` })
    socket.send({ type: 'hello', protocol: 1 }, { type: 'subscribe', id: 'o', topic })
    expect(await socket.next('event')).toMatchObject({ data: { id: '7' } })
    socket.close()
  })

  it('of the product’s own path, the rest of the product is untouched (R10)', async () => {
    app = Fastify({ forceCloseConnections: true })
    await app.register(product, { prefix: '/v1' })
    app.get('/crossfade/ws', () => 'the product’s own')
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    expect(await (await fetch(`${origin}/crossfade/ws`)).text()).toBe('the product’s own')
  })

  it('with a parameter, base is that of the request (R10)', async () => {
    app = Fastify({ forceCloseConnections: true })
    await app.register(
      async (scope) => {
        await scope.register(crossfade)
        scope.get(
          '/orders',
          { config: { crossfade: { topic: ':shop/orders', audience: 'public' } } },
          ({ params }) => params,
        )
      },
      { prefix: '/shops/:shop' },
    )
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const { base, topic } = await follow(origin, '/shops/k%C3%A4se/orders')
    expect(base).toBe('/shops/k%C3%A4se/crossfade')
    const socket = await Socket.open(origin, { path: `${base}/ws` })
    socket.send({ type: 'hello', protocol: 1 }, { type: 'subscribe', id: 'o', topic })
    expect(await socket.next('event')).toMatchObject({ data: { shop: 'käse' } })
    socket.close()
  })

  it('from which no path can be formed, it is an error at start', async () => {
    app = Fastify()
    await expect(app.register(product, { prefix: '/:lang(^[a-z]{2}$)' })).rejects.toThrow(/prefix/)
  })

  it.each(['both', 'slash', 'no-slash'] as const)(
    'the root of the prefix is one topic: prefixTrailingSlash %s',
    async (how) => {
      app = Fastify({ forceCloseConnections: true })
      await app.register(
        async (scope) => {
          await scope.register(crossfade)
          const config = { crossfade: { topic: 'orders', audience: 'public' } } as const
          scope.get('/', { prefixTrailingSlash: how, config }, () => [1])
        },
        { prefix: '/orders' },
      )
      await app.ready()
      for (const path of how === 'both' ? ['/orders', '/orders/'] : how === 'slash' ? ['/orders/'] : ['/orders']) {
        const answer = await app.inject(path)
        expect(parseHeader(String(answer.headers['crossfade']))).toMatchObject({ topic: 'orders' })
      }
    },
  )
})

describe('the description of the API', () => {
  it.each(['before', 'after'])('by @fastify/swagger, registered %s, has no route of ours (R10, D22)', async (order) => {
    const describeApi = (): unknown => app.register(swagger, { openapi: { info: { title: 'a', version: '1' } } })
    app = Fastify()
    if (order === 'before') await describeApi()
    await product(app)
    if (order === 'after') await describeApi()
    app.get('/plain', () => 'plain')
    await app.ready()
    const paths = Object.keys(app.swagger().paths ?? {})
    expect(paths.filter((path) => path.includes('crossfade'))).toEqual([])
    expect(paths).toContain('/plain')
  })
})

/** One request of HTTP/2; reads until `until` says so. */
async function request2(
  session: ClientHttp2Session,
  headers: Record<string, string>,
  body?: object,
  until: (text: string) => boolean = () => false,
): Promise<{ headers: IncomingHttpHeaders & { ':status'?: number }; text: string }> {
  const stream = session.request({ ':method': body === undefined ? 'GET' : 'POST', ...headers })
  stream.end(body === undefined ? undefined : JSON.stringify(body))
  const [answered] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status'?: number }]
  let text = ''
  for await (const chunk of stream) {
    text += String(chunk)
    if (until(text)) break
  }
  return { headers: answered, text }
}

function sseMessages(text: string): ServerMessage[] {
  const messages: ServerMessage[] = []
  new SseParser(({ data }) => messages.push(JSON.parse(data) as ServerMessage)).push(text)
  return messages
}

describe('an HTTP/2 server', () => {
  it('serves polls and streams, and closes with them open (R10, D22)', async () => {
    app = Fastify({ http2: true }) as unknown as FastifyInstance
    await product(app)
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const session = connectHttp2(origin)
    const first = await request2(session, { ':path': '/orders/7' })
    expect(first.headers).toMatchObject({ ':status': 200, crossfade: expect.stringContaining('orders/7') as string })
    const json = { 'content-type': 'application/json' }
    const polled = await request2(session, { ':path': '/crossfade/poll', ...json }, { topics: { 'orders/7': {} } })
    expect(polled.text).toContain('"snapshot"')
    const etag = String(first.headers.etag)
    const held = request2(session, { ':path': '/orders/7', prefer: 'wait=20', 'if-none-match': etag })
    const streamed = request2(session, { ':path': '/crossfade/sse?proof=1', ...json }, { topics: { 'orders/7': {} } })
    const isOpen = async (): Promise<unknown> => (await app.inject('/crossfade/health')).json()
    await expect.poll(isOpen).toMatchObject({ connections: 2 })
    await expect.poll(async () => (await isOpen()) as object).toMatchObject({ topics: 1 })
    const closed = app.close()
    expect((await held).headers[':status']).toBe(304)
    const messages = sseMessages((await streamed).text)
    expect(messages[0]?.type).toBe('hello')
    expect(messages.at(-1)).toMatchObject({ type: 'bye', code: 1001 })
    session.close()
    await closed
  })

  it('that allows HTTP/1 serves WebSockets there, and plain requests that ask for h2c (R10, D22)', async () => {
    app = Fastify({ http2: true, https: { allowHTTP1: true, ...certificate } }) as unknown as FastifyInstance
    await product(app)
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const socket = await Socket.open(origin, { rejectUnauthorized: false })
    socket.send({ type: 'hello', protocol: 1 }, { type: 'subscribe', id: 'o', topic: 'orders/7' })
    expect(await socket.next('event')).toMatchObject({ data: { id: '7' } })
    socket.close()
    expect(await plainAnswer(origin)).toContain('HTTP/1.1 200')
  })
})

describe('an HTTPS server', () => {
  it('serves plain requests that ask for another protocol (R10, D22)', async () => {
    app = Fastify({ https: certificate, forceCloseConnections: true })
    await product(app)
    expect(await plainAnswer(await app.listen({ host: '127.0.0.1', port: 0 }))).toContain('HTTP/1.1 200')
  })
})

/** The answer to a plain request over TLS that asks for h2c. */
async function plainAnswer(origin: string): Promise<string> {
  const { hostname, port } = new URL(origin)
  const tls = connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] })
  tls.write('GET /orders/7 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n')
  let text = ''
  for await (const chunk of tls) {
    text += String(chunk)
    if (text.includes('{"id":"7"}')) break
  }
  return text
}
