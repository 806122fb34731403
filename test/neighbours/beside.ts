import { Readable } from 'node:stream'
import crossfade from '@crossfade/server'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Product } from './products.ts'
import { asks, upgrades, Visitor, type Answer, type Ask } from './requests.ts'

/** When our plugin is registered: never, before its neighbour, or after it. */
export type Place = 'plain' | 'before' | 'after'

const items = Array.from({ length: 50 }, (_, id) => ({ id, name: `item ${id} ü` }))
/** How much later than without our plugin a product may have ended. */
const endMs = 2_000
const json = JSON.stringify(items)

/** What a wrapped product says differently from the plain one, beyond what R10 allows. */
export async function differences(product: Product, place: Exclude<Place, 'plain'>): Promise<string[]> {
  const [plain, wrapped] = await Promise.all([start(product, 'plain'), start(product, place)])
  const found: string[] = []
  const [before, after] = [new Visitor(plain.origin), new Visitor(wrapped.origin)]
  if (product.talk !== undefined) {
    const [expected, got] = await Promise.all([product.talk(plain.origin), product.talk(wrapped.origin)])
    if (String(expected) !== String(got)) found.push(`conversation: ${String(expected)} ≠ ${String(got)}`)
  }
  for (const ask of [...asks, ...(product.asks ?? [])]) {
    const whole = await withTag(ask, before, after)
    const answers = await Promise.all([before.ask(whole), after.ask(whole)])
    found.push(...between(...answers).map((difference) => `${JSON.stringify(whole)}: ${difference}`))
  }
  const { headers } = await after.ask({ path: '/api/me', headers: { cookie: 'user=ann' } })
  if (headers['crossfade'] === undefined) found.push('our plugin says nothing on /api/me: there was nothing to compare')
  const wishes = await Promise.all(
    upgrades.map(async (bytes) => {
      const [expected, got] = await Promise.all([before.sendRaw(bytes), after.sendRaw(bytes)])
      return withoutOurLines(expected) === withoutOurLines(got)
        ? []
        : [`${bytes.split('\r\nSec')[0]}: ${expected}\n≠ ${got}`]
    }),
  )
  found.push(...wishes.flat())
  const [plainMs, wrappedMs] = await Promise.all([plain.close(), wrapped.close()])
  if (wrappedMs > plainMs + endMs) found.push(`the end: ${plainMs} ms ≠ ${wrappedMs} ms`)
  return found
}

/** Both are asked, so that both count as many requests. */
async function withTag(ask: Ask, plain: Visitor, wrapped: Visitor): Promise<Ask> {
  if (ask.isConditional !== true) return ask
  const [{ headers }] = await Promise.all([plain.ask({ path: ask.path }), wrapped.ask({ path: ask.path })])
  const tag = headers['etag']?.[0] ?? '"of another answer"'
  return { ...ask, headers: { ...ask.headers, 'if-none-match': tag } }
}

interface Started {
  readonly origin: string
  /** @returns how long it took, ms. */
  close(): Promise<number>
}

async function start(product: Product, place: Place): Promise<Started> {
  const app = Fastify({ forceCloseConnections: true })
  const plugin = (): unknown =>
    app.register(crossfade, {
      diagnostics: false,
      authenticate: ({ headers }) => {
        const user = /user=(\w+)/.exec(String(headers.cookie))?.[1]
        return user === undefined ? null : { id: user }
      },
    })
  if (place === 'before') await plugin()
  await product.register(app)
  if (place === 'after') await plugin()
  addRoutes(app)
  product.routes?.(app)
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const close = async (): Promise<number> => {
    const began = performance.now()
    await app.close()
    return Math.round(performance.now() - began)
  }
  return { origin, close }
}

/** An ordinary product. Without the plugin the `config` blocks mean nothing. */
function addRoutes(app: FastifyInstance): void {
  const topic = (name: string) => ({ config: { crossfade: { topic: name, audience: 'public' } } }) as const
  app.get('/api/items', topic('items'), () => items)
  app.get('/api/bytes', topic('bytes'), (_request, reply) => reply.type('application/json').send(Buffer.from(json)))
  app.get('/api/stream', topic('stream'), (_request, reply) =>
    reply.type('application/json').send(Readable.from([json.slice(0, 999), json.slice(999)])),
  )
  app.get('/api/response', topic('response'), (_request, reply) => reply.type('application/json').send(json))
  app.get('/api/log', { config: { crossfade: { log: 'log', key: 'id' } } }, () => items)
  app.get<{ Params: { id: string } }>('/api/items/:id', topic('items/:id'), async (_request, reply) =>
    reply.code(404).send({ error: 'no such item' }),
  )
  app.get(
    '/api/me',
    { config: { crossfade: { topic: 'users/:user', params: ({ headers }) => ({ user: userOf(headers.cookie) }) } } },
    (request) => ({ user: userOf(request.headers.cookie) }),
  )
  app.get('/plain', () => 'plain text')
  app.get('/page', (_request, reply) => reply.type('text/html').send(`<p>${'page '.repeat(400)}</p>`))
  app.get('/error', () => {
    throw new Error('broken')
  })
  app.get('/refused', (_request, reply) =>
    reply.code(401).header('www-authenticate', 'Bearer').send({ error: 'login' }),
  )
  app.get('/redirect', (_request, reply) => reply.redirect('/plain'))
  app.get('/nothing', (_request, reply) => reply.code(204).send())
  app.post('/echo', (request) => request.body)
}

function userOf(cookie: string | undefined): string {
  return /user=(\w+)/.exec(cookie ?? '')?.[1] ?? 'nobody'
}

/** All but `Date`, `Crossfade`, an `ETag` that was none, and the names that are added to `Vary` and `Access-Control-Expose-Headers` (R10). */
function between(plain: Answer, wrapped: Answer): string[] {
  const expected: Record<string, readonly string[]> = { ...plain.headers }
  const got: Record<string, readonly string[]> = { ...wrapped.headers }
  delete got['crossfade']
  if (wrapped.headers['crossfade'] !== undefined) {
    if (plain.headers['etag'] === undefined) delete got['etag']
    for (const [name, added] of [
      ['vary', ['Accept', 'Prefer']],
      ['access-control-expose-headers', ['Crossfade', 'ETag', 'Vary']],
    ] as const) {
      expected[name] = namesOf(expected[name])
      got[name] = namesOf(got[name]).filter(
        (value) => expected[name]?.includes(value) === true || !(added as readonly string[]).includes(value),
      )
    }
  }
  const names = [...new Set([...Object.keys(expected), ...Object.keys(got)])]
  const found = names
    .filter((name) => String(expected[name]) !== String(got[name]))
    .map((name) => `${name}: ${String(plain.headers[name])} ≠ ${String(wrapped.headers[name])}`)
  if (plain.status !== wrapped.status) found.push(`status: ${plain.status} ≠ ${wrapped.status}`)
  if (plain.body !== wrapped.body) found.push(`body: ${plain.body.slice(0, 100)} ≠ ${wrapped.body.slice(0, 100)}`)
  return found
}

function namesOf(values: readonly string[] = []): string[] {
  return values
    .flatMap((value) => value.split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '')
}

/** The same for an answer as it came over the wire, one of many at once. */
function withoutOurLines(answer: string): string {
  return answer
    .split('\r\n')
    .filter((line) => !/^(?:date|crossfade|etag|vary|access-control-expose-headers|x-ratelimit-\w+):/i.test(line))
    .map((line) => line.replace(/^set-cookie: sessionId=.*/i, 'set-cookie: sessionId'))
    .join('\r\n')
}
