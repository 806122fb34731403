import { once } from 'node:events'
import { parseHeader } from '@crossfade/protocol'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade, { type CrossfadeOptions } from '../src/index.ts'
import { as, never, principalOf, until } from './endpoints.ts'
import { recordLog, type RecordedLog } from './log.ts'
import { ofType } from './shop.ts'
import { Socket } from './socket.ts'

let app: FastifyInstance
let origin: string
let log: RecordedLog
afterEach(() => app.close())

async function open(
  routes: (app: FastifyInstance) => void,
  options: CrossfadeOptions = {},
  before: (app: FastifyInstance) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  log = recordLog('warn')
  app = Fastify({ forceCloseConnections: true, logger: log.logger })
  await before(app)
  await app.register(crossfade, {
    authenticate: ({ headers }) => principalOf(headers.authorization),
    grantMs: never,
    reauthorizeMs: never,
    loadTimeoutMs: 200,
    rollout: { thing: { stage: 'push' } },
    ...options,
  })
  routes(app)
  origin = await app.listen({ host: '127.0.0.1', port: 0 })
}

async function subscribe(topic: string, token?: string, headers: Record<string, string> = {}): Promise<Socket> {
  const socket = await Socket.greet(origin, token, { headers })
  socket.send({ type: 'subscribe', id: topic, topic })
  return socket
}

describe('a run inside the process', () => {
  it('is recognisable to every hook, even those registered before the plugin, and to nobody else', async () => {
    const seen: string[] = []
    const look = (where: string) => async (request: FastifyRequest) => {
      if (request.url.startsWith('/crossfade')) return
      seen.push(`${where} ${request.url} ${String(request.crossfade)}`)
    }
    const headers: (string | undefined)[] = []
    await open(
      (server) => {
        server.addHook('preHandler', look('late'))
        server.get(
          '/thing',
          { config: { crossfade: { topic: 'thing', feature: 'thing' } }, onRequest: look('own') },
          async (request) => {
            await look('handler')(request)
            headers.push(...Object.keys(request.headers), ...request.raw.rawHeaders)
            return { v: 1 }
          },
        )
        server.get('/talk', { config: { crossfade: { log: 'talk', key: 'id' } } }, async (request) => {
          headers.push(...Object.keys(request.headers), ...request.raw.rawHeaders)
          return []
        })
        server.addHook('onResponse', look('sent'))
      },
      {},
      async (server) => {
        server.addHook('onRequest', look('early'))
        await server.register(async (scope) => {
          scope.addHook('onRequest', look('scope'))
          scope.get('/plain', async (request) => ({ kind: request.crossfade }))
        })
      },
    )
    const socket = await subscribe('thing', 'ann')
    await socket.next('event')
    expect(seen.splice(0)).toEqual(['early', 'own', 'late', 'handler', 'sent'].map((where) => `${where} /thing load`))
    socket.send({ type: 'subscribe', id: 'talk', topic: 'talk' })
    await socket.next('subscribed')
    await until(() => seen.length >= 3)
    expect(new Set(seen.splice(0))).toEqual(new Set(['early', 'late', 'sent'].map((where) => `${where} /talk check`)))
    for (const forged of ['load', 'check', '1.1']) {
      const run = headers.find((name) => name?.startsWith('x-crossfade')) ?? 'x-crossfade-run'
      await app.inject({ url: '/thing', headers: { ...as('ann'), [run]: forged } })
      expect((await app.inject({ url: '/plain', headers: { [run]: forged } })).json()).toEqual({ kind: null })
    }
    await until(() => seen.length >= 18)
    expect(seen.every((line) => line.endsWith(' null'))).toBe(true)
    expect(headers.filter((name) => name?.includes('crossfade'))).toEqual([])
    socket.close()
  })

  it('that times out is aborted: its handler sees that nobody waits', async () => {
    let request: FastifyRequest | null = null
    await open((server) =>
      server.get('/thing', { config: { crossfade: { topic: 'thing', audience: 'public' } } }, async (given) => {
        request = given
        await Promise.race([once(given.raw, 'close'), once(given.signal, 'abort')])
        throw new Error('nobody waits')
      }),
    )
    const socket = await subscribe('thing')
    expect(await socket.next('error')).toMatchObject({ code: 'server_error' })
    const given = request as unknown as FastifyRequest
    await until(() => given.raw.destroyed && given.signal.aborted)
    socket.close()
  })

  it('carries the network address of the client that it is for, and that of the service where it has one', async () => {
    const addresses: string[] = []
    const routes = (server: FastifyInstance): void => {
      for (const [topic, audience] of [
        ['thing', 'principal'],
        ['news', 'public'],
      ] as const)
        server.get(`/${topic}`, { config: { crossfade: { topic, audience } } }, async (request) => {
          if (request.crossfade !== null) addresses.push(`${topic} ${request.ip}`)
          return { v: 1 }
        })
    }
    for (const [options, expected] of [
      [{}, ['203.0.113.7']],
      // What the service is shown need not be for everybody: an address that no client has is tried once.
      [{ service: { ip: '192.0.2.1' } }, ['192.0.2.1', '0.0.0.0']],
    ] as const) {
      app = Fastify({ forceCloseConnections: true, trustProxy: true })
      await app.register(crossfade, { authenticate: ({ headers }) => principalOf(headers.authorization), ...options })
      routes(app)
      origin = await app.listen({ host: '127.0.0.1', port: 0 })
      const socket = await subscribe('thing', 'ann', { 'x-forwarded-for': '203.0.113.7' })
      await socket.next('event')
      socket.send({ type: 'subscribe', id: 'news', topic: 'news' })
      await socket.next('event')
      expect(addresses.splice(0)).toEqual(['thing 203.0.113.7', ...expected.map((ip) => `news ${ip}`)])
      socket.close()
      if (options.service === undefined) await app.close()
    }
  })
})

describe('a route whose conditions a run has to meet', () => {
  it('such as host and version is loaded, each with its own', async () => {
    await open((server) => {
      server.get(
        '/thing',
        { constraints: { host: 'shop.example' }, config: { crossfade: { topic: 'shop-thing', audience: 'public' } } },
        async () => ({ of: 'shop' }),
      )
      server.get(
        '/thing',
        { constraints: { version: '2.0.0' }, config: { crossfade: { topic: 'thing-v2', audience: 'public' } } },
        async () => ({ of: 'v2' }),
      )
      server.get('/thing', { config: { crossfade: { topic: 'thing', audience: 'public' } } }, async () => ({
        of: 'all',
      }))
    })
    for (const [topic, of] of [
      ['shop-thing', 'shop'],
      ['thing-v2', 'v2'],
      ['thing', 'all'],
    ] as const) {
      const socket = await subscribe(topic)
      expect(await socket.next('event')).toMatchObject({ topic, data: { of } })
      socket.close()
    }
  })

  const needsKey =
    (audience: 'public' | 'principal', more: { vary?: string[] } = {}) =>
    (server: FastifyInstance): void => {
      server.get(
        '/thing',
        { config: { crossfade: { topic: 'thing', feature: 'thing', audience, ...more } } },
        async (request, reply) =>
          request.headers['x-api-key'] === 'secret' || keyless ? { v: 1 } : reply.code(401).send({ error: 'key' }),
      )
      server.get('/other', { config: { crossfade: { topic: 'other', audience } } }, async () => ({ v: 1 }))
    }
  let keyless = false
  const promises = async (token = 'ann', url = '/thing'): Promise<boolean> => {
    const { headers } = await app.inject({ url, headers: { ...as(token), 'x-api-key': 'secret' } })
    return parseHeader(String(headers['crossfade'])) !== null
  }

  it.each(['public', 'principal'] as const)(
    'by a header that runs do not carry is named once, and push is not promised until it works: %s',
    async (audience) => {
      keyless = false
      await open(needsKey(audience))
      for (let n = 0; n < 3; n++) {
        const socket = await subscribe('thing', 'ann', { 'x-api-key': 'secret' })
        expect((await socket.next('error')).code).toMatch(/unauthenticated|forbidden/)
        socket.close()
        await expect.poll(() => promises()).toBe(false)
      }
      const named = log.of('warn').filter((line) => line.includes('x-api-key'))
      expect(named).toHaveLength(1)
      expect(named[0]).toMatch(/\/thing.*401.*vary.*service/)
      expect(await promises('ann', '/other')).toBe(true)
      // The route can be run from now on.
      keyless = true
      const socket = await subscribe('thing', 'ann')
      await socket.next('event')
      await expect.poll(() => promises()).toBe(true)
      socket.close()
    },
  )

  it('works with the header where the route declares it, or the service sends it', async () => {
    keyless = false
    await open(needsKey('principal', { vary: ['x-api-key'] }))
    const own = await subscribe('thing', 'ann', { 'x-api-key': 'secret' })
    expect(await own.next('event')).toMatchObject({ data: { v: 1 } })
    const without = await subscribe('thing', 'bob')
    expect(await without.next('error')).toMatchObject({ code: 'unauthenticated' })
    for (const socket of [own, without]) socket.close()
    await app.close()
    await open(needsKey('public'), { service: { headers: { 'X-API-Key': 'secret' } } })
    // The service's answer is not shown to clients without the key (R14): the endpoint is asked, and refuses.
    const nobody = await subscribe('thing', 'ann')
    expect(await nobody.next('error')).toMatchObject({ code: 'unauthenticated' })
    nobody.close()
    expect(log.of('warn').filter((line) => line.includes('cannot be loaded'))).toEqual([])
  })

  it('of which one thing is for some clients only goes on with all others', async () => {
    await open((server) =>
      server.get<{ Params: { id: string } }>(
        '/things/:id',
        { config: { crossfade: { topic: 'things/:id', audience: 'public' } } },
        async ({ params, headers }, reply) =>
          params.id === 'secret' && headers.authorization === undefined ? reply.code(403).send({}) : { v: 1 },
      ),
    )
    const known = await subscribe('things/1', 'ann')
    await known.next('event')
    const secret = await subscribe('things/secret', 'ann')
    await secret.next('error')
    await expect.poll(() => promises('ann', '/things/secret')).toBe(false)
    expect(await promises('bob', '/things/1')).toBe(true)
    for (const socket of [known, secret]) socket.close()
  })

  it('that refuses some clients is withheld from these alone', async () => {
    await open((server) =>
      server.get('/thing', { config: { crossfade: { topic: 'thing', feature: 'thing' } } }, async (request, reply) => {
        const isKnown =
          request.headers['x-api-key'] === 'secret' || request.headers.authorization !== as('robot').authorization
        return isKnown ? { v: 1 } : reply.code(401).send({ error: 'key' })
      }),
    )
    const ann = await subscribe('thing', 'ann')
    await ann.next('event')
    const robot = await subscribe('thing', 'robot')
    await robot.next('error')
    await expect.poll(() => promises('robot')).toBe(false)
    expect(await promises('ann')).toBe(true)
    expect(await promises('bob')).toBe(true)
    app.crossfade.invalidate('thing')
    for (const socket of [ann, robot]) socket.close()
    expect(ofType(ann.messages, 'unsubscribed')).toEqual([])
  })
})
