import { channel } from 'node:diagnostics_channel'
import Fastify, { type FastifyInstance } from 'fastify'
import { pgTable, text } from 'drizzle-orm/pg-core'
import { changes, inserts, rewrites } from '@crossfade/changefeed/drizzle'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade, { type CrossfadeOptions, type RouteOptions } from '../src/index.ts'
import { rule } from './rule.ts'
import { recordLog } from './log.ts'

let app: FastifyInstance
afterEach(() => app.close())

const answer = (): Promise<object> => Promise.resolve({})
const nobody = (): null => null
const orders = pgTable('orders', { id: text().notNull(), room: text().notNull() })

/** What is said of one route with this block. */
async function refusal(block: unknown, url = '/orders/:id'): Promise<{ code: string; message: string }> {
  app = Fastify()
  await app.register(crossfade, { authenticate: nobody })
  try {
    app.get(url, { config: { crossfade: block as RouteOptions } }, answer)
    await app.ready()
  } catch (error) {
    return error as { code: string; message: string }
  }
  return { code: 'none', message: 'none' }
}

const value = { topic: 'orders/:id' }
const log = { log: 'rooms/:room', key: 'id' }

describe('a config.crossfade block with a mistake is refused at start, naming the route and the remedy', () => {
  it.each<[string, object, RegExp]>([
    ['a misspelt key', { ...value, audiance: 'public' }, /"audiance" is not known. Did you mean "audience"\?/],
    ['a key in another case', { ...value, maxrate: 1 }, /"maxrate".*"maxRate"/],
    ['letters that changed places', { tpoic: 'orders/:id' }, /"tpoic".*"topic"/],
    ['a key that resembles none', { ...value, xyz: 1 }, /"xyz" is not known. Known: topic, feature, on/],
    ['a member of the prototype', { ...value, constructor: 1 }, /"constructor" is not known/],
    ['neither topic nor log', { audience: 'public' }, /neither topic nor log.*topic: 'orders\/:id'/],
    ['both topic and log', { ...value, ...log }, /both topic and log/],
    ['a key of a log on a value', { ...value, event: 'made' }, /event is for a log topic/],
    ['a page of a value', { ...value, paging: ['limit'] }, /"limit", but each page is a separate value/],
    ['a topic that is not a string', { topic: 7 }, /topic must be a non-empty string, got 7/],
    ['a topic that is not a pattern', { topic: '/orders/:id' }, /"\/orders\/:id" is not a topic pattern/],
    ['a rule without a list', { ...value, on: rule('orders') }, /on must be an array/],
    ['a table in place of a rule', { ...value, on: [orders] }, /element 0 is not a rule.*changes\(orders/],
    ['a function in place of a rule', { ...value, on: [changes] }, /element 0 is not a rule, but the function changes/],
    ['a rule of unknown operations', { ...value, on: [rule('orders', { ops: ['upsert' as 'insert'] })] }, /has ops/],
    ['params that are not a function', { ...value, params: { id: 1 } }, /params must be a function/],
    ['params that need time', { ...value, params: async () => ({}) }, /params must return its result directly/],
    ['a query without a list', { ...value, query: 'status' }, /query must be an array.*got "status"/],
    ['a query of numbers', { ...value, query: ['a', 7] }, /query.*element 1.*got 7/],
    ['vary that is not a list', { ...value, vary: 'accept-language' }, /vary must be an array/],
    [
      'vary of something that is not a header',
      { ...value, vary: ['accept language'] },
      /vary.*name of a request header/,
    ],
    ['an audience in another case', { ...value, audience: 'Public' }, /audience.*"Public".*Did you mean "public"\?/],
    ['an unknown audience', { ...value, audience: 'tenant' }, /audience must be "public", "principal" or/],
    ['an audience of nothing', { ...value, audience: null }, /audience.*got null/],
    ['a group that is a string', { ...value, audience: { group: 'orgId' } }, /Did you mean \["orgId"\]\?/],
    ['a group of no claims', { ...value, audience: { group: [] } }, /got an empty array/],
    ['a group of no names', { ...value, audience: { group: ['orgId', 7] } }, /element 1/],
    ['a group that needs time', { ...value, audience: { group: async () => 'a' } }, /return its result directly/],
    ['a misspelt group', { ...value, audience: { groups: ['orgId'] } }, /must be "public", "principal" or/],
    ['a rate of zero', { ...value, maxRate: 0 }, /maxRate must be a number of loads a second, above 0, got 0/],
    ['a rate that is a string', { ...value, maxRate: '5' }, /maxRate.*got "5"/],
    ['a rate that is not a number', { ...value, maxRate: Number.NaN }, /maxRate.*NaN/],
    ['refresh as a number', { ...value, refresh: 5000 }, /Write refresh: { every: 5000 }/],
    ['refresh of another key', { ...value, refresh: { interval: 5000 } }, /"interval" is not known/],
    ['refresh of nothing', { ...value, refresh: {} }, /refresh has no every/],
    ['refresh every 0 ms', { ...value, refresh: { every: 0 } }, /every must be a number of ms, above 0/],
    ['refresh that no timer can wait', { ...value, refresh: { every: 2 ** 31 } }, /every must be at most 2147483647/],
    ['ignore of a name', { ...value, ignore: ['generatedAt'] }, /JSON pointer.*Did you mean "\/generatedAt"\?/],
    ['ignore of a path', { ...value, ignore: ['$.meta.at'] }, /JSON pointer.*Did you mean "\/meta\/at"\?/],
    ['ignore of everything', { ...value, ignore: [''] }, /JSON pointer/],
    ['a feature that is an empty string', { ...value, feature: '' }, /feature must be a non-empty string/],
    ['authorize that is not a function', { ...value, authorize: true }, /authorize must be a function/],
  ])('%s', async (_what, block, message) => {
    const { code, message: said } = await refusal(block)
    expect(said).toMatch(message)
    expect(said).toContain('The route /orders/:id')
    expect(code).toBe('invalid_options')
  })

  it.each<[string, object, RegExp]>([
    ['a log without a key', { log: 'rooms/:room' }, /a log needs key/],
    ['a log of a query', { ...log, query: ['tag'] }, /"tag".*paging/],
    ['a log with an audience', { ...log, audience: 'principal' }, /audience is for a value topic.*authorize/],
    ['a log with a rate', { ...log, maxRate: 5 }, /maxRate is for a value topic/],
    ['paging that is not a list', { ...log, paging: 'after' }, /paging must be an array/],
    ['a misspelt key of a log', { ...log, pagination: ['after'] }, /"pagination".*"paging"/],
    ['an event that is not a string', { ...log, event: 1 }, /event must be a non-empty string/],
  ])('%s', async (_what, block, message) => {
    expect((await refusal(block, '/rooms/:room')).message).toMatch(message)
  })

  it.each<unknown>([true, 'orders/:id', null, 7, []])('%j in place of a block', async (block) => {
    expect((await refusal(block)).message).toMatch(/config.crossfade must be an object/)
  })

  it('reports all mistakes of a route together', async () => {
    const { message } = await refusal({ topc: 'orders/:id', maxRate: 0, audience: 'all' })
    expect(message).toMatch(/neither topic nor log[^]*"topc"[^]*"topic"[^]*maxRate[^]*audience/)
  })

  it.each<[string, string, object, RegExp]>([
    ['a parameter that the topic lacks', '/orders/:id', { topic: 'orders' }, /:id.*Add it to the topic/],
    ['a parameter that the route lacks', '/orders', { topic: 'orders/:id' }, /:id.*params: \(request\)/],
    ['a wildcard', '/files/*', { topic: 'files' }, /wildcard/],
  ])('%s', async (_what, url, block, message) => {
    expect((await refusal(block, url)).message).toMatch(message)
  })

  it('treats a key that is undefined as absent', async () => {
    const block = { topic: 'orders/:id', log: undefined, on: undefined, key: undefined, maxRate: undefined }
    expect((await refusal(block)).code).toBe('none')
  })

  it.each<[string, object]>([
    ['config.crosfade', { config: { crosfade: value } }],
    ['config.Crossfade', { config: { Crossfade: log } }],
    ['config.crossFader', { config: { crossFader: value } }],
    ['crossfade', { crossfade: value }],
  ])('refuses a block that is under %s, where it has no effect', async (where, options) => {
    app = Fastify()
    await app.register(crossfade)
    expect(() => app.get('/orders/:id', options, answer)).toThrow(`GET /orders/:id has its topic under ${where},`)
  })

  it('ignores what the application has under other names', async () => {
    app = Fastify()
    await app.register(crossfade)
    app.get('/a', { config: { topic: 'a', cache: { topic: 'a' }, crossfader: { on: true } } as object }, answer)
    expect((await app.inject('/a')).statusCode).toBe(200)
  })

  it('refuses the block on a route that is not a GET', async () => {
    app = Fastify()
    await app.register(crossfade)
    for (const method of ['POST', 'HEAD', ['GET', 'POST']] as const) {
      const declare = (): unknown =>
        app.route({
          method: method as 'POST',
          url: '/orders',
          config: { crossfade: { topic: 'orders', audience: 'public' } },
          handler: answer,
        })
      expect(declare).toThrow(/only GET routes can be topics/)
    }
  })
})

describe('a rule that does not fit its topic is refused at start', () => {
  const inRoom = { url: '/rooms/:room', log }

  it.each<[string, RouteOptions, string, RegExp]>([
    [
      'a parameter in another case',
      { topic: 'orders/:id', on: [changes(orders, (row) => ({ Id: row.id }))] },
      '/orders/:id',
      /public.orders gives the parameter "Id", which the topic "orders\/:id" does not have. Did you mean "id"\?/,
    ],
    [
      'one parameter too many',
      { topic: 'orders/:id', on: [changes(orders, (row) => ({ id: row.id, room: row.room }))] },
      '/orders/:id',
      /gives the parameter "room"/,
    ],
    [
      'a parameter of a topic without any',
      { topic: 'orders', on: [rule('orders', { params: (row) => ({ id: String(row['id']) }) })] },
      '/orders',
      /gives the parameter "id", and the topic "orders" has none/,
    ],
    [
      'no parameter of a log',
      { ...log, on: [inserts(orders)] },
      inRoom.url,
      /gives no "room".*\(row\) => \({ room: … }\)/,
    ],
    ['no parameter of a rewritten log', { ...log, on: [rewrites(orders)] }, inRoom.url, /gives no "room"/],
    ['one by hand', { ...log, on: [rule('orders')] }, inRoom.url, /gives no "room"/],
  ])('%s', async (_what, block, url, message) => {
    const { code, message: said } = await refusal(block, url)
    expect(said).toMatch(message)
    expect(code).toBe('invalid_options')
  })

  it('is accepted where it needs a real row, or gives fewer parameters than a value has', async () => {
    const unknown = rule('orders', { params: (row) => ({ other: (row['id'] as number).toFixed() }) })
    expect((await refusal({ topic: 'orders/:id', on: [unknown, changes(orders)] })).code).toBe('none')
  })

  it('throws whatever the row', async () => {
    const params = (): never => {
      throw new Error('not written yet')
    }
    for (const broken of [rule('orders', { params }), changes(orders, params)]) {
      const { code, message } = await refusal({ topic: 'orders/:id', on: [broken] })
      expect(message).toBe(
        'The route /orders/:id: params of the rule for public.orders throws for every row: not written yet',
      )
      expect(code).toBe('invalid_options')
      await app.close()
    }
  })

  it('says which rules load all topics of a value', async () => {
    const lines = recordLog()
    app = Fastify({ logger: lines.logger })
    await app.register(crossfade)
    const on = [changes(orders)]
    app.get('/orders/:id', { config: { crossfade: { topic: 'orders/:id', audience: 'public', on } } }, answer)
    await app.ready()
    expect(lines.of('info')).toContainEqual(
      expect.stringMatching(/each change of public.orders loads every live topic of "orders\/:id" again/),
    )
  })

  it('also in app.crossfade.log(), whose options are checked alike', async () => {
    app = Fastify()
    await app.register(crossfade)
    const declare = (options: object) => () => app.crossfade.log('rooms/:room', options)
    expect(declare({ public: true, on: [inserts(orders)] })).toThrow(/The log "rooms\/:room".*gives no "room"/)
    expect(declare({ publik: true })).toThrow(/"publik" is not known. Did you mean "public"\?/)
    expect(declare({ public: 'yes' })).toThrow(/public must be true or absent/)
    expect(declare({ public: true, topic: 'a' })).toThrow(/"topic" is not known/)
  })
})

describe('the params of a route', () => {
  const topic = 'users/:user/orders/:id'

  it.each<[string, RouteOptions['params'], RegExp]>([
    [
      'give another name',
      () => ({ usr: '7' }),
      /params gives "usr", which the topic ".*" does not have. Did you mean "user"\?/,
    ],
    ['give one more', ({ headers }) => ({ user: String(headers['x-user']), shop: 1 }), /params gives "shop"/],
    ['give a string', (request) => (request.id.trim() + 'x') as never, /must give the topic's parameters as an object/],
    ['give a promise', () => Promise.resolve({ user: 'a' }) as never, /params gives a promise/],
    [
      'give another name of what the application knows',
      (request) => ({ userId: (request as unknown as { user: { id: string } }).user.id.trim().slice(1) }),
      /params gives "userId"/,
    ],
  ])('that %s are refused at ready', async (_what, params, message) => {
    const { code, message: said } = await refusal({ topic, params })
    expect(said).toMatch(message)
    expect(said).toContain('The route /orders/:id')
    expect(code).toBe('invalid_options')
  })

  it.each<[string, RouteOptions['params']]>([
    ['read deep into a request', (request) => ({ user: (request as unknown as { user: { id: string } }).user.id })],
    ['call what the application put there', (request) => ({ user: String(request.getDecorator('user')) })],
    ['pass on what there is', (request) => ({ ...(request.params as { user: string }) })],
    ['give what a hook made', (request) => request.query as { user: string }],
    [
      'leave one out where nobody is logged in',
      ({ user }: { user?: unknown }) => (typeof user === 'string' ? { user } : {}),
    ],
    [
      'go through what has no end',
      (request) => {
        let at = request as unknown as { parent?: unknown }
        while (at.parent !== undefined) at = at.parent as typeof at
        return { user: typeof at }
      },
    ],
    ['go through a list', (request) => ({ user: [...(request.ips ?? [])].join() })],
    [
      'throw where nobody is logged in',
      () => {
        throw new Error('no context of a request')
      },
    ],
  ])('that %s are known with the first request', async (_what, params) => {
    expect((await refusal({ topic, params })).code).toBe('none')
  })
})

describe('an option of the plugin with a mistake is refused at start', () => {
  it.each<[string, object, RegExp]>([
    ['a misspelt option', { authenicate: nobody }, /"authenicate" is not known. Did you mean "authenticate"\?/],
    ['a function that is not one', { authenticate: 'jwt' }, /authenticate must be a function, got "jwt"/],
    ['a feed that is not one', { feed: {} }, /feed must be an object with start\(\) and stop\(\)/],
    ['a broker that is not one', { broker: 'redis' }, /broker must be an object with open\(\)/],
    ['an origin with a path', { allowedOrigins: ['https://app.example.com/'] }, /must be an origin/],
    ['an origin without a scheme', { allowedOrigins: ['app.example.com'] }, /must be an origin/],
    ['all origins', { allowedOrigins: ['*'] }, /must be an origin/],
    ['origins without a list', { allowedOrigins: 'https://app.example.com' }, /allowedOrigins must be an array/],
    ['a misspelt rollout', { rollout: { board: { stage: 'push', percnt: 5 } } }, /"board".*"percnt".*"percent"/],
    ['an unknown stage', { rollout: { board: { stage: 'on' } } }, /"board".*stage must be one of/],
    ['a percentage over 100', { rollout: { board: { stage: 'push', percent: 200 } } }, /percent.*got 200/],
    ['a time that is a string', { grantMs: '30s' }, /grantMs must be a number of ms/],
    ['a time of zero', { loadTimeoutMs: 0 }, /loadTimeoutMs must be a number of ms, above 0/],
    [
      'a network address that is not one',
      { service: { ip: 'backend' } },
      /service.*ip must be a network address.*"backend"/,
    ],
    ['headers that are not strings', { service: { headers: { authorization: undefined } } }, /service.*authorization/],
    ['a misspelt limit', { limits: { heartbeatMS: 5 } }, /"heartbeatMS" is not a limit. Did you mean "heartbeatMs"\?/],
    ['a switch that is a string', { diagnostics: 'yes' }, /diagnostics must be true or false/],
  ])('%s', async (_what, options, message) => {
    app = Fastify()
    app.register(crossfade, options as CrossfadeOptions)
    await expect(app.ready()).rejects.toMatchObject({
      code: 'invalid_options',
      message: expect.stringMatching(message),
    })
  })

  it('leaves those of Fastify alone', async () => {
    app = Fastify()
    await app.register(crossfade, { prefix: '/api', logLevel: 'error' } as CrossfadeOptions)
    await expect(app.ready()).resolves.toBe(app)
  })

  it('warns of a rollout for a feature that no route has', async () => {
    const lines = recordLog()
    app = Fastify({ logger: lines.logger })
    await app.register(crossfade, { rollout: { 'order-pgae': { stage: 'push' } } })
    app.crossfade.log('orders', { public: true, feature: 'order-page' })
    await app.ready()
    expect(lines.of('warn')).toContainEqual(expect.stringMatching(/"order-pgae".*Did you mean "order-page"\?/))
  })
})

describe('an audience that needs a principal', () => {
  it.each<[string, object, RegExp]>([
    ['by default', {}, /\/orders\/:id \(audience: 'principal'\)/],
    ['of one principal', { audience: 'principal' }, /authenticate: \(\{ headers }\)/],
    ['of a group', { audience: { group: ['orgId'] } }, /\(audience: group\)/],
  ])('%s is refused without authenticate', async (_what, more, message) => {
    app = Fastify()
    await app.register(crossfade)
    app.get('/orders/:id', { config: { crossfade: { topic: 'orders/:id', ...more } } }, answer)
    await expect(app.ready()).rejects.toMatchObject({
      code: 'invalid_options',
      message: expect.stringMatching(message),
    })
  })

  it('is not that of a public value or of a log', async () => {
    app = Fastify()
    await app.register(crossfade)
    app.get('/orders/:id', { config: { crossfade: { topic: 'orders/:id', audience: 'public' } } }, answer)
    app.get('/rooms/:room', { config: { crossfade: { log: 'rooms/:room', key: 'id' } } }, answer)
    await expect(app.ready()).resolves.toBe(app)
  })
})

describe('a route that the plugin cannot wrap', () => {
  const block = (topic: string) => ({ config: { crossfade: { topic, audience: 'public' as const } } })

  it('because it was declared before the plugin is an error at ready', async () => {
    app = Fastify()
    app.get('/early', block('early'), answer)
    app.get('/health', answer)
    await app.register(crossfade)
    app.get('/late', block('late'), answer)
    await expect(app.ready()).rejects.toMatchObject({
      code: 'invalid_options',
      message: expect.stringMatching(/^The config.crossfade of GET \/early was declared before.*await app.register/),
    })
  })

  it('because the plugin was not awaited is an error at ready', async () => {
    app = Fastify()
    app.register(crossfade)
    app.get('/orders', block('orders'), answer)
    app.post('/orders', block('orders'), answer)
    app.register(async (scope) => scope.get('/board', block('board'), answer), { prefix: '/api' })
    await expect(app.ready()).rejects.toThrow(/GET \/orders, POST \/orders was declared/)
  })

  it('because it is outside the context of the plugin is an error at ready', async () => {
    app = Fastify()
    app.register(async (scope) => {
      await scope.register(crossfade)
      scope.get('/inside', block('inside'), answer)
    })
    app.register(async (scope) => scope.get('/outside', block('outside'), answer))
    await expect(app.ready()).rejects.toThrow(/GET \/outside was declared/)
  })

  it('is not a mistake when the plugin is not awaited, and the routes come in plugins after it', async () => {
    app = Fastify()
    app.register(crossfade)
    app.register(async (scope) => scope.get('/orders', block('orders'), answer), { prefix: '/api' })
    app.after(() => app.get('/board', block('board'), answer))
    await app.ready()
    expect((await app.inject('/api/orders')).headers['crossfade']).toBeDefined()
    expect((await app.inject('/board')).headers['crossfade']).toBeDefined()
  })

  it('is told by the first request, where the instance is older than the package', async () => {
    const lines = recordLog()
    // As an instance that was made before the package was loaded: it was not listened to.
    const initialization = channel('fastify.initialization')
    const publish = initialization.publish.bind(initialization)
    initialization.publish = () => {}
    app = Fastify({ logger: lines.logger })
    initialization.publish = publish
    app.get('/early', block('early'), answer)
    await app.register(crossfade)
    app.get('/late', block('late'), answer)
    for (const url of ['/late', '/early', '/early']) expect((await app.inject(url)).statusCode).toBe(200)
    expect(lines.of('error')).toEqual([expect.stringMatching(/config.crossfade of GET \/early was declared before/)])
  })
})
