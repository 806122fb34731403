import { once } from 'node:events'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import compress from '@fastify/compress'
import etag from '@fastify/etag'
import { hashValue, parseHeader } from '@crossfade/protocol'
import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type onSendHookHandler,
  type RouteHandlerMethod,
} from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade, { type CrossfadeOptions } from '../src/index.ts'

const value = { id: 1, name: 'ä'.repeat(700), rows: Array.from({ length: 100 }, (_, n) => ({ n })) }
const json = JSON.stringify(value)
const bytes = Buffer.from(json)
const asJson = (reply: FastifyReply): FastifyReply => reply.type('application/json; charset=utf-8')

/** The same JSON, in every form in which Fastify sends it. */
const forms: Record<string, RouteHandlerMethod> = {
  object: () => value,
  text: (_request, reply) => asJson(reply).send(json),
  Buffer: (_request, reply) => asJson(reply).send(bytes),
  Uint8Array: (_request, reply) => asJson(reply).send(new Uint8Array(bytes)),
  Response: () =>
    new Response(json, {
      headers: { 'content-type': 'application/json', vary: 'X-Own', etag: '"own"' },
    }),
  'Response of a reply': (_request, reply) => reply.send(Response.json(value, { status: 203 })),
  'stream of Node': (_request, reply) =>
    asJson(reply).send(Readable.from([bytes.subarray(0, 500), bytes.subarray(500)])),
  'stream of text': (_request, reply) => asJson(reply).send(Readable.from([json.slice(0, 701), json.slice(701)])),
  'stream of the web': (_request, reply) => asJson(reply).send(new Blob([json]).stream()),
}

const apps: FastifyInstance[] = []
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

interface Product {
  handler: RouteHandlerMethod
  onSend?: onSendHookHandler
  around?: (app: FastifyInstance) => unknown
}

/** The same product without and with our plugin. */
async function twice(
  { handler, onSend, around }: Product,
  options: CrossfadeOptions = {},
): Promise<{ plain: string; wrapped: string; app: FastifyInstance }> {
  const origins = await Promise.all(
    [false, true].map(async (isWrapped) => {
      const app = Fastify({ forceCloseConnections: true })
      apps.push(app)
      if (isWrapped) await app.register(crossfade, { diagnostics: false, ...options })
      await around?.(app)
      app.get('/value', {
        config: { crossfade: { topic: 'value', audience: 'public' } },
        ...(onSend ? { onSend } : {}),
        handler,
      })
      return app.listen({ host: '127.0.0.1', port: 0 })
    }),
  )
  return { plain: origins[0] as string, wrapped: origins[1] as string, app: apps.at(-1) as FastifyInstance }
}

interface Got {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  /** Whether the answer ended regularly. */
  isWhole: boolean
}

async function get(origin: string, headers: IncomingHttpHeaders = {}, method = 'GET'): Promise<Got> {
  const request = httpRequest(`${origin}/value`, { headers, method, agent: false })
  request.end()
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage]
  const chunks: Buffer[] = []
  response.on('data', (chunk: Buffer) => chunks.push(chunk))
  response.on('error', () => {})
  await once(response, 'close')
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(chunks),
    isWhole: response.complete,
  }
}

/** What may differ (R10). */
function withoutOurs({ status, headers, body, isWhole }: Got): object {
  const { date: _, crossfade: _header, etag: _tag, vary: _vary, ...rest } = headers
  return { status, body: body.toString('latin1'), isWhole, ...rest }
}

async function expectTopic(got: Got): Promise<void> {
  const header = parseHeader(String(got.headers['crossfade']))
  expect(header).toMatchObject({ topic: 'value', hash: hashValue(value) })
  expect(got.headers.etag).toBeTruthy()
  expect(got.headers.vary).toMatch(/Accept, Prefer$/)
}

/** Those of a `Response` itself are kept, and added to. */
function expectOwnHeaders({ headers }: Got): void {
  expect(headers).toMatchObject({ etag: '"own"', vary: 'X-Own, Accept, Prefer' })
}

describe.each(Object.entries(forms))('JSON as %s', (form, handler) => {
  it('has header and ETag, and is sent as it was (R10, D22)', async () => {
    const { plain, wrapped } = await twice({ handler })
    const [before, after] = await Promise.all([get(plain), get(wrapped)])
    expect(withoutOurs(after)).toEqual(withoutOurs(before))
    expect(after.body.toString()).toBe(json)
    await expectTopic(after)
    if (form === 'Response') expectOwnHeaders(after)
    const again = await get(wrapped, { 'if-none-match': after.headers.etag })
    expect(again).toMatchObject({ status: 304, body: Buffer.of() })
    await expectTopic(again)
    const [headBefore, headAfter] = await Promise.all([get(plain, {}, 'HEAD'), get(wrapped, {}, 'HEAD')])
    expect(withoutOurs(headAfter)).toEqual(withoutOurs(headBefore))
  })

  it('has them when a hook makes bytes of it, or the other way round (R10)', async () => {
    const onSend: onSendHookHandler = (_request, _reply, payload, done) =>
      done(
        null,
        typeof payload === 'string' ? Buffer.from(payload) : Buffer.isBuffer(payload) ? payload.toString() : payload,
      )
    const { plain, wrapped } = await twice({ handler, onSend })
    const [before, after] = await Promise.all([get(plain), get(wrapped)])
    expect(withoutOurs(after)).toEqual(withoutOurs(before))
    await expectTopic(after)
  })

  it.each(['before', 'after'])('has them with @fastify/compress, registered %s (R10, D22)', async (order) => {
    const register = (app: FastifyInstance): unknown => app.register(compress, { encodings: ['gzip'], threshold: 10 })
    const app = Fastify({ forceCloseConnections: true })
    apps.push(app)
    if (order === 'before') await register(app)
    await app.register(crossfade)
    if (order === 'after') await register(app)
    app.get('/value', { config: { crossfade: { topic: 'value', audience: 'public' } }, handler })
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const got = await get(origin, { 'accept-encoding': 'gzip' })
    expect(got.headers['content-encoding']).toBe('gzip')
    expect(gunzipSync(got.body).toString()).toBe(json)
    expect(parseHeader(String(got.headers['crossfade']))).toMatchObject({ hash: hashValue(value) })
    expect(got.headers.vary).toMatch(/accept-encoding/i)
    expect((await get(origin, { 'accept-encoding': 'gzip', 'if-none-match': got.headers.etag })).status).toBe(304)
  })
})

describe('an answer whose body cannot be read', () => {
  it.each([
    [
      'too large',
      (_: unknown, reply: FastifyReply) => asJson(reply).send(Readable.from([json, ' '.repeat(9_000), ' '])),
    ],
    [
      'a large Response',
      () => new Response(json + ' '.repeat(9_000), { headers: { 'content-type': 'application/json' } }),
    ],
    ['not UTF-8', (_: unknown, reply: FastifyReply) => asJson(reply).send(Buffer.from([0x22, 0xff, 0x22]))],
    ['not JSON after all', (_: unknown, reply: FastifyReply) => asJson(reply).send('{')],
    [
      'encoded by the handler',
      (_: unknown, reply: FastifyReply) => asJson(reply).header('content-encoding', 'gzip').send(bytes),
    ],
  ] as [string, RouteHandlerMethod][])('because it is %s stays as it was (R10)', async (_name, handler) => {
    const { plain, wrapped } = await twice({ handler }, { limits: { maxEventBytes: 8_000 } })
    const [before, after] = await Promise.all([get(plain), get(wrapped)])
    expect({ ...after, headers: { ...after.headers, date: '' } }).toEqual({
      ...before,
      headers: { ...before.headers, date: '' },
    })
  })

  it('because it is slow is passed on as it comes (R10)', async () => {
    const body = new Readable({ read() {} })
    const handler: RouteHandlerMethod = (_request, reply) => asJson(reply).send(body)
    const app = Fastify({ forceCloseConnections: true })
    apps.push(app)
    await app.register(crossfade, { loadTimeoutMs: 50 })
    app.get('/value', { config: { crossfade: { topic: 'value', audience: 'public' } }, handler })
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    body.push('[1')
    const request = httpRequest(`${origin}/value`)
    request.end()
    const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage]
    expect(response.headers['crossfade']).toBeUndefined()
    expect(String((await once(response, 'data'))[0])).toBe('[1')
    body.push(',2]')
    expect(String((await once(response, 'data'))[0])).toBe(',2]')
    body.push(null)
    await once(response, 'end')
  })

  it('because it breaks off breaks off as before, and its source is released (R10)', async () => {
    const sources: Readable[] = []
    const handler: RouteHandlerMethod = (_request, reply) => {
      const source = Readable.from(
        (function* () {
          yield '[1,'
          throw new Error('broken')
        })(),
      )
      sources.push(source)
      return asJson(reply).send(source)
    }
    const { plain, wrapped } = await twice({ handler })
    const [before, after] = await Promise.all([get(plain).catch(String), get(wrapped).catch(String)])
    expect(typeof after === 'string' ? after : withoutOurs(after)).toEqual(
      typeof before === 'string' ? before : withoutOurs(before),
    )
    await expect.poll(() => sources.map((source) => source.destroyed)).toEqual([true, true])
  })
})

describe('headers that list names', () => {
  it('are added to, also when they were given as lists (R10)', async () => {
    const { wrapped } = await twice({
      handler: (_request, reply) =>
        reply
          .header('vary', ['Accept-Language', 'Accept'])
          .header('access-control-allow-origin', 'https://a.example')
          .header('access-control-expose-headers', ['X-Total', 'X-Page, ETag'])
          .send(value),
    })
    expect((await get(wrapped)).headers).toMatchObject({
      vary: 'Accept-Language, Accept, Prefer',
      'access-control-expose-headers': 'X-Total, X-Page, ETag, Crossfade, Vary',
    })
  })
})

describe.each(['before', 'after'])('with @fastify/etag, registered %s', (order) => {
  it('a 304 of the application says the same about the topic as the answer would (R10, R11)', async () => {
    const app = Fastify({ forceCloseConnections: true })
    apps.push(app)
    if (order === 'before') await app.register(etag)
    await app.register(crossfade)
    if (order === 'after') await app.register(etag)
    app.get('/value', { config: { crossfade: { topic: 'value', audience: 'public' } } }, () => value)
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const first = await get(origin)
    const second = await get(origin, { 'if-none-match': first.headers.etag })
    expect(second.status).toBe(304)
    expect(second.headers.etag).toBe(first.headers.etag)
    const header = parseHeader(String(second.headers['crossfade']))
    expect(header).toMatchObject({ topic: 'value', stage: 'off' })
  })
})
