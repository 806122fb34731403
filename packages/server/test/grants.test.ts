import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade, { type CrossfadeOptions, type Principal } from '../src/index.ts'
import { ofType } from './shop.ts'
import { Socket } from './socket.ts'

let app: FastifyInstance
let origin: string
afterEach(() => app.close())

async function open(options: CrossfadeOptions, routes: () => void): Promise<void> {
  app = Fastify({ forceCloseConnections: true })
  await app.register(crossfade, options)
  routes()
  origin = await app.listen({ host: '127.0.0.1', port: 0 })
}

function subscribe(socket: Socket, topic: string): void {
  socket.send({ type: 'subscribe', id: topic, topic })
}

async function refusal(socket: Socket, topic: string): Promise<string> {
  subscribe(socket, topic)
  return (await socket.next('error')).code
}

describe('what one client was granted', () => {
  it('is not granted to another whom the application identifies by a custom header (R52)', async () => {
    const authenticate: CrossfadeOptions['authenticate'] = ({ headers }) =>
      headers['x-api-key'] === undefined ? null : { id: String(headers['x-api-key']) }
    await open({ authenticate }, () => {
      app.crossfade.log('letters/:user', { authorize: ({ principal, params }) => principal?.id === params['user'] })
    })
    const ann = await Socket.greet(origin, undefined, { headers: { 'x-api-key': 'ann' } })
    subscribe(ann, 'letters/ann')
    await ann.next('subscribed')
    const bob = await Socket.greet(origin, undefined, { headers: { 'x-api-key': 'bob' } })
    expect(await refusal(bob, 'letters/ann')).toBe('forbidden')
  })

  it('is not granted by an answer that may depend on a header unknown to the server (R14)', async () => {
    await open({ service: { headers: { 'x-api-key': 'service' } } }, () => {
      app.get(
        '/greeting',
        { config: { crossfade: { topic: 'greeting', audience: 'public', vary: ['accept-language'] } } },
        () => Promise.resolve({ hi: 1 }),
      )
      app.get('/report', { config: { crossfade: { topic: 'report', audience: 'public' } } }, async (request, reply) =>
        request.headers['x-api-key'] === undefined ? reply.code(401).send({ error: 'key' }) : { secret: 42 },
      )
    })
    const headers = { 'accept-language': 'en', cookie: 'theme=dark' }
    const answer = await fetch(`${origin}/report`, { headers: { ...headers, 'x-api-key': 'ann' } })
    expect(answer.status).toBe(200)
    const thief = await Socket.greet(origin, undefined, { headers })
    expect(await refusal(thief, 'report')).toBe('unauthenticated')
  })

  it('is not granted to a client without the key that a log requires in a header it varies by (R14)', async () => {
    await open({}, () => {
      app.get(
        '/audit',
        { config: { crossfade: { log: 'audit', key: 'id', vary: ['x-api-key'] } } },
        async (request, reply) =>
          request.headers['x-api-key'] === 'secret' ? [] : reply.code(401).send({ error: 'key' }),
      )
    })
    const known = await Socket.greet(origin, undefined, { headers: { 'x-api-key': 'secret' } })
    subscribe(known, 'audit')
    await known.next('subscribed')
    const thief = await Socket.greet(origin)
    expect(await refusal(thief, 'audit')).toBe('unauthenticated')
  })

  it('is not granted by another route whose topic has the same name', async () => {
    const nameOf = ({ headers }: { headers: FastifyRequest['headers'] }): string =>
      (headers.authorization ?? '').replace('Bearer ', '')
    await open(
      {
        authenticate: (request) => (nameOf(request) === '' ? null : { id: nameOf(request) }),
        service: { headers: { authorization: 'Bearer boss' } },
      },
      () => {
        app.get<{ Params: { id: string } }>(
          '/order/:id',
          { config: { crossfade: { topic: 'orders/:id', audience: 'public' } } },
          (request) => Promise.resolve({ order: request.params.id }),
        )
        app.get(
          '/overdue',
          { config: { crossfade: { topic: 'orders/late', audience: 'public' } } },
          async (request, reply) => (nameOf(request) === 'boss' ? { overdue: ['all'] } : reply.code(403).send({})),
        )
      },
    )
    const headers = { authorization: 'Bearer clerk' }
    const answer = await fetch(`${origin}/order/late`, { headers })
    expect(await answer.json()).toEqual({ order: 'late' })
    expect(answer.headers.get('crossfade')).toBe(null)
    const clerk = await Socket.greet(origin, 'clerk')
    expect(await refusal(clerk, 'orders/late')).toBe('forbidden')
    const boss = await Socket.greet(origin, 'boss')
    subscribe(boss, 'orders/late')
    expect((await boss.next('event')).data).toEqual({ overdue: ['all'] })
  })
})

describe('authorize', () => {
  it('that gets no answer is not a permission, and keeps no other topic from being authorized (D13)', async () => {
    let hangs = false
    const options = { authenticate: () => ({ id: 'ann' }), loadTimeoutMs: 100, reauthorizeMs: 50, grantMs: 0 }
    let asked = 0
    await open({ ...options, maxReauthorizations: 1 }, () => {
      app.crossfade.log('slow', { authorize: () => (hangs ? new Promise<boolean>(() => {}) : true) })
      app.crossfade.log('quick', { authorize: () => (asked += 1) > 0 })
    })
    const ann = await Socket.greet(origin)
    for (const topic of ['slow', 'quick']) {
      subscribe(ann, topic)
      await ann.next('subscribed')
    }
    hangs = true
    const before = asked
    await expect.poll(() => asked, { timeout: 10_000 }).toBeGreaterThan(before + 3)
    expect(ofType(ann.messages, 'unsubscribed')).toEqual([])
    const late = await Socket.greet(origin)
    expect(await refusal(late, 'slow')).toBe('server_error')
  }, 20_000)

  it('is checked again on revocation by the text of an id that the application gives as a number (D10)', async () => {
    let may = true
    const authenticate = (): Principal => ({ id: 7 as unknown as string })
    await open({ authenticate, reauthorizeMs: 1_000_000, grantMs: 1_000_000 }, () =>
      app.crossfade.log('seven', { authorize: () => may }),
    )
    const socket = await Socket.greet(origin)
    subscribe(socket, 'seven')
    await socket.next('subscribed')
    may = false
    await app.crossfade.revoke('7')
    expect(await socket.next('unsubscribed')).toMatchObject({ topic: 'seven', code: 'forbidden' })
  })
})

describe('a topic that a group shares', () => {
  const versions = new Map<string, number>()

  /** Tokens are `<user>-<team>`; users in `barred` get 403. */
  async function openBoard(options: { barred?: string; authorize?: true; maxRate?: number }): Promise<void> {
    versions.clear()
    const { barred, authorize, maxRate } = options
    const caller = (headers: FastifyRequest['headers']): string[] =>
      /^Bearer (\w+)-(\w+)$/.exec(String(headers.authorization))?.slice(1) ?? []
    const authenticate: CrossfadeOptions['authenticate'] = ({ headers }) => {
      const [id, team] = caller(headers)
      return id === undefined ? null : { id, team }
    }
    await open({ authenticate }, () => {
      const board = {
        topic: 'board',
        audience: { group: (principal: Principal) => String(principal['team']) },
        ...(maxRate === undefined ? {} : { maxRate }),
        ...(authorize ? { authorize: ({ principal }: { principal: Principal | null }) => principal !== null } : {}),
      }
      app.get('/board', { config: { crossfade: board } }, async (request, reply) => {
        const [user, team] = caller(request.headers)
        if (team === undefined || user === barred) return reply.code(403).send({})
        return { team, version: versions.get(team) ?? 1 }
      })
    })
  }

  async function member(token: string): Promise<Socket> {
    const socket = await Socket.greet(origin, token)
    subscribe(socket, 'board')
    await socket.next('event')
    return socket
  }

  it('continues for the others when one renews into another group and gets nothing more of it', async () => {
    await openBoard({ authorize: true })
    const ann = await member('ann-red')
    const eve = await member('eve-red')
    ann.send({ type: 'token', token: 'ann-blue' })
    expect(await ann.next('unsubscribed')).toMatchObject({ topic: 'board', code: 'forbidden' })
    versions.set('red', 2)
    app.crossfade.invalidate('board')
    expect((await eve.next('event')).data).toEqual({ team: 'red', version: 2 })
    subscribe(ann, 'board')
    expect((await ann.next('event')).data).toEqual({ team: 'blue', version: 1 })
    expect(JSON.stringify(ann.messages)).not.toContain('"team":"red","version":2')
  })

  it.each([
    ['after', 'ann'],
    ['before', 'bob'],
  ])(
    'is not refused to a client that may read it because another, which asked %s it, may not (R54)',
    async (_when, first) => {
      await openBoard({ barred: 'bob', maxRate: 4 })
      const ann = await member('ann-red')
      ann.send({ type: 'unsubscribe', id: 'board' })
      await ann.next('unsubscribed')
      app.crossfade.invalidate('board')
      const bob = await Socket.greet(origin, 'bob-red')
      // Both wait for the load that the rate delays.
      for (const socket of first === 'ann' ? [ann, bob] : [bob, ann]) {
        subscribe(socket, 'board')
        socket.send({ type: 'ping', n: 1 })
        await socket.next('heartbeat')
      }
      await expect.poll(() => ofType(bob.messages, 'error')).toMatchObject([{ code: 'forbidden' }])
      await expect.poll(() => ofType(ann.messages, 'event').length).toBe(2)
      expect(ofType(ann.messages, 'error')).toEqual([])
    },
  )
})
