import { closeCodes } from '@crossfade/protocol'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import crossfade, { type CrossfadeOptions, type Principal, type RouteOptions } from '../src/index.ts'
import { recordLog, type RecordedLog } from './log.ts'
import { principalOf } from './shop.ts'
import { Socket } from './socket.ts'

let app: FastifyInstance
let log: RecordedLog

beforeEach(() => {
  log = recordLog()
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await app.close()
})

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

async function open(options: CrossfadeOptions = {}): Promise<void> {
  app = Fastify({ logger: log.logger, routerOptions: { querystringParser: parseQuery } })
  await app.register(crossfade, { authenticate: ({ headers }) => principalOf(headers.authorization), ...options })
}

/** As `qs` does, `a[b]=c` makes an object. */
function parseQuery(text: string): Record<string, unknown> {
  const pairs = [...new URLSearchParams(text)].map(([name, value]) => {
    const member = /^(\w+)\[(\w+)\]$/.exec(name)
    return member === null ? [name, value] : [member[1], { [member[2] as string]: value }]
  })
  return Object.fromEntries(pairs) as Record<string, unknown>
}

function route(url: string, block: Partial<RouteOptions> & object, handler: Handler = () => ({ ok: true })): void {
  const options = { audience: 'public', ...block } as RouteOptions
  app.get(url, { config: { crossfade: options } }, async (request, reply) => handler(request, reply))
}

/** Parameters that only a real request shows. */
const ofRequest = (params: object) => (request: FastifyRequest) =>
  (typeof request.url === 'string' ? params : {}) as Record<string, string>

async function skipped(url: string, headers: Record<string, string> = {}): Promise<unknown> {
  const answer = await app.inject({ url, headers })
  expect(answer.headers['crossfade']).toBeUndefined()
  return answer.headers['crossfade-skipped']
}

describe('in development an answer that is not a topic says why', () => {
  it.each<[string, string, Partial<RouteOptions> & object, string, Record<string, string>?]>([
    ['an undeclared parameter', '/a?page=2', { topic: 'a' }, 'undeclared query parameter "page"'],
    ['an undeclared parameter first', '/a?tab=1&x=2', { topic: 'a', query: ['tab'] }, 'undeclared query parameter "x"'],
    ['a parameter of objects', '/a?f[s]=1', { topic: 'a', query: ['f'] }, 'query parameter "f" is not a single value'],
    ['params that throw', '/a', { topic: 'a/:b', params: () => JSON.parse('{') as { b: string } }, 'params threw'],
    ['params of another name', '/a', { topic: 'a/:b', params: ofRequest({ B: 1 }) }, 'params gave no "b"'],
    ['params of nothing', '/a', { topic: 'a/:b', params: () => ({ b: '' }) }, 'parameter "b" is empty'],
    [
      'params of undefined',
      '/a',
      { topic: 'a/:b', params: () => ({ b: String(undefined) }) },
      'parameter "b" is not a name',
    ],
    ['params of null', '/a', { topic: 'a/:b', params: () => null as never }, 'params did not give an object'],
    [
      'a name too long',
      '/a',
      { topic: 'a/:b', params: () => ({ b: 'x'.repeat(300) }) },
      'the name of this request is not valid for a topic',
    ],
    ['nobody', '/a', { topic: 'a', audience: 'principal' }, 'nobody is logged in, and the answer is not public'],
    ['bad credentials', '/a', { topic: 'a' }, 'authenticate threw', { authorization: 'Bearer stolen' }],
  ])('%s', async (_what, url, block, reason, headers = {}) => {
    await open()
    route('/a', block)
    expect(await skipped(url, headers)).toBe(reason)
  })

  it.each<[string, Handler, string]>([
    ['that is not there', (_, reply) => reply.code(404).send({}), 'status 404'],
    ['that is elsewhere', (_, reply) => reply.redirect('/login'), 'status 302'],
    ['that is a page', (_, reply) => reply.type('text/html').send('<p>'), 'not JSON: text/html'],
    ['that is not JSON after all', (_, reply) => reply.type('application/json').send('{'), 'the body is not JSON'],
    [
      'that sets a cookie',
      (_, reply) => reply.header('set-cookie', 'a=1').send({}),
      'the route is public, and its answer looks private: it sets a cookie',
    ],
    [
      'that is private',
      (_, reply) => reply.header('cache-control', 'private').send({}),
      'the route is public, and its answer looks private: it says "Cache-Control: private"',
    ],
  ])('an answer %s', async (_what, handler, reason) => {
    await open()
    route('/a', { topic: 'a' }, handler)
    expect(await skipped('/a')).toBe(reason)
  })

  it('a name that is another route’s topic', async () => {
    await open()
    route('/orders/:id', { topic: 'orders/:id' })
    route('/late', { topic: 'orders/late' })
    expect(await skipped('/orders/late')).toBe('the name "orders/late" is a topic of /late')
  })

  it('an answer of a hook that came before the handler', async () => {
    await open()
    app.addHook('onRequest', async (request, reply) =>
      request.headers['x-stop'] === undefined ? undefined : reply.code(Number(request.headers['x-stop'])).send({}),
    )
    route('/a', { topic: 'a' })
    expect(await skipped('/a', { 'x-stop': '401' })).toBe('status 401')
    expect(await skipped('/a', { 'x-stop': '200' })).toBe('a hook answered before the handler')
  })

  it('but nothing that is a topic, nor an answer of another route', async () => {
    await open()
    route('/a', { topic: 'a' })
    app.get('/plain', () => Promise.resolve({}))
    for (const url of ['/a', '/plain']) expect((await app.inject(url)).headers['crossfade-skipped']).toBeUndefined()
    const etag = String((await app.inject('/a')).headers.etag)
    const unchanged = await app.inject({ url: '/a', headers: { 'if-none-match': etag } })
    expect([unchanged.statusCode, unchanged.headers['crossfade-skipped']]).toEqual([304, undefined])
    const held = await app.inject({ url: '/a', headers: { 'if-none-match': etag, prefer: 'wait=0' } })
    expect([held.statusCode, held.headers['crossfade-skipped']]).toEqual([304, undefined])
    const head = await app.inject({ method: 'HEAD', url: '/a?page=1' })
    expect(head.headers['crossfade-skipped']).toBe('undeclared query parameter "page"')
  })

  it('in plain ASCII of bounded length, whatever the name of a parameter', async () => {
    await open()
    route('/a', { topic: 'a' })
    for (const name of ['a\r\nset-cookie: b=1', 'ä\u0000"', 'x'.repeat(500)]) {
      const text = String(await skipped(`/a?${encodeURIComponent(name)}=1`))
      expect(text).toMatch(/^undeclared query parameter "[\x20-\x7e]{1,160}$/)
    }
  })
})

describe('the log says why an answer is not a topic', () => {
  it('once per route and reason in development', async () => {
    await open()
    route('/a', { topic: 'a' })
    route('/b', { topic: 'b' })
    for (const url of ['/a?page=1', '/a?page=2', '/a?tab=1', '/b?page=1']) await app.inject(url)
    expect(log.of('warn')).toEqual([
      'crossfade: The route /a answers without a Crossfade header: undeclared query parameter "page"',
      'crossfade: The route /a answers without a Crossfade header: undeclared query parameter "tab"',
      'crossfade: The route /b answers without a Crossfade header: undeclared query parameter "page"',
    ])
  })

  it('for a limited number of reasons per route, since clients make up names', async () => {
    await open()
    route('/a', { topic: 'a' })
    for (let n = 0; n < 120; n++) await app.inject(`/a?p${n}=1`)
    expect(log.of('warn')).toHaveLength(50)
  })

  it('by the message of an error that the header does not show', async () => {
    await open()
    const params = (): never => {
      throw new Error('no user in 10.0.0.7')
    }
    route('/a', { topic: 'a/:b', params })
    expect(await skipped('/a')).toBe('params threw')
    expect(log.of('error')).toEqual([
      'crossfade: The route /a answers without a Crossfade header: params threw: no user in 10.0.0.7',
    ])
  })

  it('and of a parameter that the topic does not have, although the answer is a topic', async () => {
    await open()
    route('/a', { topic: 'a/:b', params: ofRequest({ b: 1, c: 2 }) })
    for (let n = 0; n < 2; n++) expect((await app.inject('/a')).headers['crossfade']).toContain('topic="a/1"')
    expect(log.of('error')).toEqual([
      'crossfade: The route /a: params gives "c", which the topic "a/:b" does not have.',
    ])
  })

  it('of params that fail where the server runs the route itself', async () => {
    await open()
    const params = ({ crossfade }: FastifyRequest): { b: number } => {
      if (crossfade !== null) throw new Error('no x-tenant')
      return { b: 1 }
    }
    route('/a', { topic: 'a/:b', params })
    await app.inject({ method: 'POST', url: '/crossfade/poll', payload: { topics: { 'a/1': {} } } })
    expect(log.of('error')).toContainEqual(
      expect.stringContaining('/a answers without a Crossfade header: params threw: no x-tenant'),
    )
  })

  it.each<[string, object, RegExp]>([
    ['without an id', {}, /with the id undefined.*It has orgId/],
    ['with an empty id', { id: '' }, /with the id ""/],
    ['with the id "undefined"', { id: 'undefined' }, /with the id "undefined"/],
    ['with the id "[object Object]"', { id: '[object Object]' }, /with the id "\[object Object\]"/],
    ['with the id null', { id: null }, /with the id null.*or give null if nobody is logged in/],
    ['that expires in seconds', { id: 'ann', expiresAt: 4_102_444_800 }, /looks like seconds.*multiply.*by 1000/],
    ['that expires at NaN', { id: 'ann', expiresAt: Number.NaN }, /with expiresAt NaN/],
    ['that expires at a string', { id: 'ann', expiresAt: '2099-01-01' }, /with expiresAt "2099-01-01"/],
  ])('where authenticate gives a principal %s (D16)', async (_what, principal, message) => {
    await open({ authenticate: () => ({ ...principal, orgId: 'a' }) as unknown as Principal })
    route('/a', { topic: 'a', audience: 'principal' })
    expect(await skipped('/a')).toBe('authenticate gave an unusable principal')
    expect(log.of('error')).toEqual([expect.stringMatching(message)])
    // Connecting clients are not told; the log is.
    const poll = await app.inject({ method: 'POST', url: '/crossfade/poll', payload: { topics: { a: {} } } })
    expect(poll.statusCode).toBe(500)
    expect(poll.payload).not.toContain('orgId')
    const socket = await Socket.open(await app.listen({ host: '127.0.0.1', port: 0 }))
    socket.send({ type: 'hello', protocol: 1 })
    expect((await socket.closed).code).toBe(closeCodes.serverError)
    expect(log.of('error').filter((line) => line.startsWith('crossfade: authenticate gave'))).toHaveLength(1)
  })
})

describe('in production', () => {
  it.each<[string, CrossfadeOptions, string | undefined]>([
    ['no answer says why', {}, undefined],
    ['it does where that is wanted', { diagnostics: true }, 'undeclared query parameter "page"'],
  ])('%s', async (_what, options, expected) => {
    vi.stubEnv('NODE_ENV', 'production')
    await open(options)
    route('/a', { topic: 'a' })
    expect(await skipped('/a?page=1')).toBe(expected)
    expect(log.of('warn')).toHaveLength(expected === undefined ? 0 : 1)
  })

  it('a mistake of the declaration is logged anyway', async () => {
    vi.stubEnv('NODE_ENV', 'production')
    await open()
    route('/a', { topic: 'a/:b', params: ofRequest({ B: 1 }) })
    expect(await skipped('/a')).toBeUndefined()
    await app.inject('/a')
    expect(log.of('error')).toEqual([expect.stringMatching(/params gave no "b": it gave B/)])
  })

  it('and nothing is logged where development turns it off', async () => {
    vi.stubEnv('NODE_ENV', 'development')
    await open({ diagnostics: false })
    route('/a', { topic: 'a' })
    expect(await skipped('/a?page=1')).toBeUndefined()
  })
})
