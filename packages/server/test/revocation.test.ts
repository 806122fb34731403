import { CrossfadeError } from '@crossfade/protocol'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade, { type CrossfadeOptions, type Principal } from '../src/index.ts'
import { ofType } from './shop.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'

/** One token: its user, how long it is valid, and whether the endpoints admit it. */
interface Token {
  readonly user: string
  expiresAt?: number
  allowed: boolean
}

let app: FastifyInstance
let origin: string
let tokens: Record<string, Token>
let version: number
/** Called in the middle of each run of the endpoint, after it decided whether the caller may see the answer. */
let whileRunning: (() => void | Promise<void>) | null
afterEach(() => app.close())

const longMs = 1_000_000

async function open(options: CrossfadeOptions = {}): Promise<void> {
  version = 1
  whileRunning = null
  tokens = {
    ann: { user: 'ann', allowed: true },
    ann2: { user: 'ann', allowed: true },
    bob: { user: 'bob', allowed: true },
  }
  app = Fastify({ forceCloseConnections: true })
  const principal = (authorization: string | string[] | undefined): Principal | null => {
    if (authorization === undefined) return null
    const token = tokens[String(authorization).replace('Bearer ', '')]
    if (token === undefined) throw new CrossfadeError('unauthenticated', 'The token is not known.')
    return { id: token.user, ...(token.expiresAt === undefined ? {} : { expiresAt: token.expiresAt }) }
  }
  // Nothing but a revocation makes the server look again.
  await app.register(crossfade, {
    authenticate: ({ headers }) => principal(headers.authorization),
    grantMs: longMs,
    reauthorizeMs: longMs,
    ...options,
  })
  const answer = async (authorization: unknown, body: () => object): Promise<{ status: number; body: object }> => {
    const token = tokens[String(authorization).replace('Bearer ', '')]
    const may = token?.allowed === true && (token.expiresAt ?? Infinity) > Date.now()
    const shown = body()
    await whileRunning?.()
    return may ? { status: 200, body: shown } : { status: token === undefined ? 401 : 403, body: { error: 'no' } }
  }
  app.get('/mine', { config: { crossfade: { topic: 'mine' } } }, async (request, reply) => {
    const { status, body } = await answer(request.headers.authorization, () => ({ version }))
    return reply.code(status).send(body)
  })
  app.get(
    '/team',
    { config: { crossfade: { topic: 'team', audience: { group: () => 'all' } } } },
    async (request, reply) => {
      const { status, body } = await answer(request.headers.authorization, () => ({ version }))
      return reply.code(status === 403 ? 404 : status).send(body)
    },
  )
  app.get('/talk', { config: { crossfade: { log: 'talk', key: 'id' } } }, async (request, reply) => {
    const { status, body } = await answer(request.headers.authorization, () => ({ version }))
    return reply.code(status).send(body)
  })
  origin = await app.listen({ host: '127.0.0.1', port: 0 })
}

const as = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })

async function pollAs(token: string, topics: object, wait = 0) {
  const response = await app.inject({
    method: 'POST',
    url: '/crossfade/poll',
    headers: as(token),
    payload: { topics, wait },
  })
  return response.json()
}

async function change(): Promise<void> {
  version += 1
  for (const topic of ['mine', 'team']) app.crossfade.invalidate(topic)
  await app.crossfade.publish('talk', 'said', { version })
}

async function join(socket: Socket, ...topics: string[]): Promise<void> {
  for (const topic of topics) {
    socket.send({ type: 'subscribe', id: topic, topic })
    await socket.next('subscribed')
  }
}

describe('a principal that loses a right in mid-stream (D10)', () => {
  it('does not keep the application waiting for an endpoint that hangs', async () => {
    await open({ loadTimeoutMs: 60_000 })
    const ann = await Socket.greet(origin, 'ann')
    await join(ann, 'mine')
    let answer = (): void => {}
    whileRunning = () => new Promise((resolve) => (answer = resolve))
    await app.crossfade.revoke('ann')
    expect(ofType(ann.messages, 'unsubscribed')).toEqual([])
    await expect.poll(() => ofType(ann.messages, 'stale')).toMatchObject([{ topic: 'mine', reason: 'unverified' }])
    ;(tokens['ann'] as Token).allowed = false
    answer()
    whileRunning = null
  })

  it('loses its topics on every transport at revoke, and others go on', async () => {
    await open()
    const ann = await Socket.greet(origin, 'ann')
    const bob = await Socket.greet(origin, 'bob')
    for (const socket of [ann, bob]) await join(socket, 'mine', 'team', 'talk')
    const stream = await Stream.open(`${origin}/crossfade/sse`, {
      headers: as('ann'),
      body: { topics: { mine: {}, talk: {} } },
    })
    await expect.poll(() => ofType(stream.messages, 'subscribed').length).toBe(2)
    const { topics } = await pollAs('ann', { talk: {} })
    const held = pollAs('ann', topics, 20_000)
    await expect.poll(async () => (await app.inject('/crossfade/health')).json()).toMatchObject({ connections: 4 })

    ;(tokens['ann'] as Token).allowed = false
    const at = performance.now()
    await app.crossfade.revoke('ann')
    await expect.poll(() => ofType(ann.messages, 'unsubscribed').length).toBe(3)
    await expect.poll(() => ofType(stream.messages, 'unsubscribed').length).toBe(2)
    expect((await held).messages).toMatchObject([{ type: 'unsubscribed', topic: 'talk', code: 'forbidden' }])
    expect(performance.now() - at).toBeLessThan(1_000)
    expect(new Set(ofType(ann.messages, 'unsubscribed').map(({ code }) => code))).toEqual(new Set(['forbidden']))

    await change()
    await expect.poll(() => JSON.stringify(bob.messages)).toContain('"version":2')
    await expect
      .poll(() =>
        ofType(bob.messages, 'event')
          .map(({ topic }) => topic)
          .toSorted(),
      )
      .toEqual(['mine', 'mine', 'talk', 'team', 'team'])
    for (const { messages } of [ann, stream]) expect(JSON.stringify(messages)).not.toContain('"version":2')
  })

  it('is not served by a grant from before the revocation, with or without an open connection (R52)', async () => {
    await open()
    await pollAs('ann', { mine: {}, talk: {} })
    await app.inject({ url: '/talk', headers: as('ann') })
    ;(tokens['ann'] as Token).allowed = false
    await app.crossfade.revoke('ann')
    const answer = await pollAs('ann', { mine: {}, talk: { history: 10 } })
    expect(answer.messages.map(({ type, code }: { type: string; code: string }) => [type, code])).toEqual([
      ['error', 'forbidden'],
      ['error', 'forbidden'],
    ])
  })

  it('is not let in by a check that began before the revocation and ended after it', async () => {
    await open()
    for (const topic of ['talk', 'mine', 'team']) {
      ;(tokens['ann'] as Token).allowed = true
      let revoked = false
      whileRunning = async () => {
        if (revoked) return
        revoked = true
        ;(tokens['ann'] as Token).allowed = false
        await app.crossfade.revoke('ann')
      }
      const socket = await Socket.greet(origin, 'ann')
      socket.send({ type: 'subscribe', id: 'x', topic })
      expect([topic, (await socket.next('error')).code]).toEqual([topic, 'forbidden'])
      socket.close()
    }
  })

  it('gets no grant by a plain request that began before the revocation', async () => {
    await open()
    whileRunning = async () => {
      whileRunning = null
      ;(tokens['ann'] as Token).allowed = false
      await app.crossfade.revoke('ann')
    }
    expect((await app.inject({ url: '/talk', headers: as('ann') })).statusCode).toBe(200)
    const answer = await pollAs('ann', { talk: {} })
    expect(answer.messages).toMatchObject([{ type: 'error', code: 'forbidden' }])
  })

  it('is detected at the next interval without a revocation (R14)', async () => {
    await open({ reauthorizeMs: 50 })
    const ann = await Socket.greet(origin, 'ann')
    await join(ann, 'talk')
    ;(tokens['ann'] as Token).allowed = false
    expect(await ann.next('unsubscribed')).toMatchObject({ topic: 'talk', code: 'forbidden' })
  })

  it('does not end the topic for its group, even where the endpoint answers 404 to hide what exists (R52, R54)', async () => {
    await open()
    const ann = await Socket.greet(origin, 'ann')
    const bob = await Socket.greet(origin, 'bob')
    await join(ann, 'team')
    await join(bob, 'team')
    ;(tokens['ann'] as Token).allowed = false
    await change()
    expect(await ann.next('unsubscribed')).toMatchObject({ topic: 'team' })
    await expect.poll(() => JSON.stringify(bob.messages)).toContain('"version":2')
    expect(ofType(bob.messages, 'unsubscribed')).toEqual([])
  })

  it('is checked immediately when it continues with a token that may read less (R52)', async () => {
    await open()
    ;(tokens['ann2'] as Token).allowed = false
    const ann = await Socket.greet(origin, 'ann')
    await join(ann, 'mine', 'talk')
    ann.send({ type: 'token', token: 'ann2' })
    await expect
      .poll(() =>
        ofType(ann.messages, 'unsubscribed')
          .map(({ topic }) => topic)
          .toSorted(),
      )
      .toEqual(['mine', 'talk'])
    await change()
    ann.send({ type: 'ping', n: 1 })
    await ann.next('heartbeat')
    expect(JSON.stringify(ann.messages)).not.toContain('"version":2')
  })
})

describe('many clients together', () => {
  it('are let in by one run of the endpoint for the same credentials (R52)', async () => {
    await open()
    let runs = 0
    let finish = (): void => {}
    const gate = new Promise<void>((resolve) => (finish = resolve))
    whileRunning = () => {
      runs += 1
      return gate
    }
    const sockets = await Promise.all(Array.from({ length: 20 }, () => Socket.greet(origin, 'ann')))
    for (const socket of sockets) socket.send({ type: 'subscribe', id: 't', topic: 'talk' }, { type: 'ping', n: 1 })
    await Promise.all(sockets.map((socket) => socket.next('heartbeat')))
    finish()
    await Promise.all(sockets.map((socket) => socket.next('subscribed')))
    expect(runs).toBe(1)
    const refused = await Promise.all(Array.from({ length: 20 }, () => Socket.greet(origin, 'bob')))
    ;(tokens['bob'] as Token).allowed = false
    for (const socket of refused) socket.send({ type: 'subscribe', id: 't', topic: 'talk' })
    const codes = await Promise.all(refused.map((socket) => socket.next('error').then(({ code }) => code)))
    expect(new Set(codes)).toEqual(new Set(['forbidden']))
  })
})

describe('credentials that expire (R53)', () => {
  it('are requested in advance, and end their connections after the grace period, not before', async () => {
    await open({ expiryGraceMs: 300 })
    const ann = tokens['ann'] as Token
    ann.expiresAt = Date.now() + 400
    const { expiresAt } = ann
    const socket = await Socket.greet(origin, 'ann')
    await join(socket, 'talk', 'mine')
    const stream = await Stream.open(`${origin}/crossfade/sse`, { headers: as('ann'), body: { topics: { talk: {} } } })
    const bob = await Socket.greet(origin, 'bob')
    await join(bob, 'talk')
    expect(await socket.next('error')).toMatchObject({ code: 'token_expiring' })
    expect((await socket.closed).code).toBe(4440)
    await stream.closed
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAt + 300 - 20)
    expect(ofType(socket.messages, 'unsubscribed')).toEqual([])
    for (const { messages } of [socket, stream]) expect(ofType(messages, 'bye')).toMatchObject([{ code: 4440 }])
    await change()
    expect(await bob.next('event')).toMatchObject({ topic: 'talk' })
  })

  it('may be renewed in the grace period, although nothing can be loaded with them meanwhile', async () => {
    await open({ expiryGraceMs: 30_000, reauthorizeMs: 20 })
    const ann = tokens['ann'] as Token
    ann.expiresAt = Date.now() + 1_000
    const socket = await Socket.greet(origin, 'ann')
    await join(socket, 'mine', 'talk')
    await expect.poll(() => Date.now() > (ann.expiresAt ?? 0) + 50).toBe(true)
    await change()
    await expect.poll(() => JSON.stringify(socket.messages)).toContain('"topic":"talk","cursor"')
    socket.send({ type: 'token', token: 'ann2' })
    await expect
      .poll(() =>
        ofType(socket.messages, 'event').some(
          (event) => event.topic === 'mine' && JSON.stringify(event.data).includes('2'),
        ),
      )
      .toBe(true)
    expect(ofType(socket.messages, 'unsubscribed')).toEqual([])
  })

  it('are asked for once, although the client only has the same token again', async () => {
    await open({ expiryGraceMs: 300 })
    const ann = tokens['ann'] as Token
    ann.expiresAt = Date.now() + 300
    const socket = await Socket.greet(origin, 'ann')
    socket.raw.on('message', (data) => {
      if ((data as Buffer).toString().includes('token_expiring')) socket.send({ type: 'token', token: 'ann' })
    })
    expect((await socket.closed).code).toBe(4440)
    expect(ofType(socket.messages, 'error').filter(({ code }) => code === 'token_expiring')).toHaveLength(1)
  })

  it('are requested half-way through their lives where these are short', async () => {
    await open()
    const lifeMs = 600
    const begunAt = Date.now()
    const ann = tokens['ann'] as Token
    const renew = (): void => {
      ann.expiresAt = Date.now() + lifeMs
    }
    renew()
    const socket = await Socket.greet(origin, 'ann')
    for (let n = 1; n <= 3; n++) {
      expect(await socket.next('error')).toMatchObject({ code: 'token_expiring' })
      // A timer may fire up to a millisecond early.
      expect(Date.now() - begunAt).toBeGreaterThanOrEqual(n * (lifeMs / 2 - 30))
      renew()
      socket.send({ type: 'token', token: 'ann' })
    }
    expect(socket.raw.readyState).toBe(socket.raw.OPEN)
  })
})
