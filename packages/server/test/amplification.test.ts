import { CrossfadeError } from '@crossfade/protocol'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade, { type CrossfadeOptions } from '../src/index.ts'
import { until } from './endpoints.ts'
import { Socket } from './socket.ts'

let app: FastifyInstance
let origin: string
/** Runs of `/things/:id`, and how many ran at the same time. */
let runs: { total: number; now: number; most: number }
let authenticated: number
/** How long a run takes, and what it waits for besides. */
let gate: Promise<void>
afterEach(() => app.close())

async function open(options: CrossfadeOptions = {}): Promise<void> {
  runs = { total: 0, now: 0, most: 0 }
  authenticated = 0
  gate = Promise.resolve()
  app = Fastify({ forceCloseConnections: true, trustProxy: true })
  await app.register(crossfade, {
    authenticate: ({ headers }) => {
      authenticated += 1
      const token = headers.authorization
      if (token === undefined) return null
      if (String(token).startsWith('Bearer bad')) throw new CrossfadeError('unauthenticated', 'The token is bad.')
      return { id: String(token).replace('Bearer ', '') }
    },
    ...options,
  })
  app.get(
    '/things/:id',
    { config: { crossfade: { topic: 'things/:id', audience: 'public' } } },
    async ({ params }, reply) => {
      runs.total += 1
      runs.now += 1
      runs.most = Math.max(runs.most, runs.now)
      await new Promise((resolve) => setTimeout(resolve, 2))
      await gate
      runs.now -= 1
      const { id } = params as { id: string }
      return id.startsWith('none') ? reply.code(404).send({ error: 'none' }) : { id }
    },
  )
  origin = await app.listen({ host: '127.0.0.1', port: 0 })
}

const from = (ip: string, token?: string): Record<string, string> => ({
  'x-forwarded-for': ip,
  ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
})

async function poll(headers: Record<string, string>, names: readonly string[]) {
  const topics = Object.fromEntries(names.map((name) => [name, {}]))
  const response = await app.inject({ method: 'POST', url: '/crossfade/poll', headers, payload: { topics } })
  const { messages = [] } = response.json<{ messages?: { type: string; code?: string; topic?: string }[] }>()
  return { status: response.statusCode, headers: response.headers, messages }
}

const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, n) => `things/${prefix}${n}`)
const burst = 60
const limits = { messagesPerSecond: 1, messageBurst: burst }

describe('work that a client causes (D8)', () => {
  it.each(['none', 'some'])(
    'is bounded by its rate for each topic that has to be looked up, and in parallel in each request: there are %s',
    async (what) => {
      await open({ limits })
      const polls = await Promise.all([1, 2, 3].map((n) => poll(from('203.0.113.1'), names(`${what}${n}-`, 256))))
      expect(polls.every(({ status }) => status === 200 || status === 429)).toBe(true)
      await until(() => runs.now === 0)
      // The seconds that this takes give some more.
      expect(runs.total).toBeLessThanOrEqual(burst + 10)
      expect(runs.most).toBeLessThanOrEqual(3 * 16)
      expect(polls[0]?.status).toBe(200)
      expect(polls[0]?.messages.filter(({ code }) => code === 'too_fast').length).toBeGreaterThanOrEqual(
        256 - burst - 10,
      )
    },
    20_000,
  )

  it('is charged for what has to be looked up, not for what is granted already', async () => {
    await open({ limits })
    const known = names('known', 40)
    await poll(from('203.0.113.1'), known)
    const again = await Promise.all(Array.from({ length: 10 }, () => poll(from('203.0.113.1'), known)))
    expect(again.flatMap(({ messages }) => messages).filter(({ type }) => type === 'error')).toEqual([])
    expect(runs.total).toBe(40)
  })

  it('runs no endpoint for a client that has left, or for topics that it has unsubscribed from', async () => {
    await open()
    let finish = (): void => {}
    gate = new Promise((resolve) => (finish = () => resolve()))
    const socket = await Socket.greet(origin)
    socket.send(...names('hangs', 40).map((topic) => ({ type: 'subscribe', id: topic, topic })))
    await until(() => runs.total === 16)
    socket.close()
    const other = await Socket.greet(origin)
    other.send(...names('hung', 40).map((topic) => ({ type: 'subscribe', id: topic, topic })))
    await until(() => runs.total === 32)
    other.send(...names('hung', 40).map((topic) => ({ type: 'unsubscribe', id: topic })))
    await until(() => other.messages.filter(({ type }) => type === 'unsubscribed').length === 40)
    finish()
    await until(() => runs.now === 0)
    other.send({ type: 'subscribe', id: 'x', topic: 'things/x' })
    await other.next('subscribed')
    expect(runs.total).toBe(33)
    other.close()
  })

  it('by one address or account leaves the others alone, and an account shares no bucket with an address', async () => {
    await open({ limits })
    await poll(from('203.0.113.1'), names('a', 256))
    expect((await poll(from('203.0.113.1'), ['things/x'])).status).toBe(429)
    // Its name is that of the address.
    const named = await poll(from('203.0.113.9', '203.0.113.1'), ['things/x'])
    expect([named.status, named.messages.filter(({ type }) => type === 'error')]).toEqual([200, []])
    const other = await poll(from('203.0.113.2'), ['things/y'])
    expect([other.status, other.messages.filter(({ type }) => type === 'error')]).toEqual([200, []])
    await poll(from('203.0.113.9', '203.0.113.1'), names('b', 256))
    expect((await poll(from('203.0.113.9', '203.0.113.1'), ['things/z'])).status).toBe(429)
    expect((await poll(from('203.0.113.3', 'ann'), ['things/z'])).status).toBe(200)
    // A client with an account is not held up by anonymous ones at the same address.
    expect((await poll(from('203.0.113.1', 'bob'), ['things/z'])).status).toBe(200)
  })
})

describe('bad credentials (D8)', () => {
  it('are verified a limited number of times for one address, and then refused as too fast', async () => {
    await open({ limits })
    const answers = await Promise.all(Array.from({ length: 400 }, (_, n) => poll(from('203.0.113.1', `bad${n}`), [])))
    const statuses = answers.map(({ status }) => status)
    expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(burst + 10)
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(400 - burst - 10)
    expect(authenticated).toBeLessThanOrEqual(burst + 10)
    expect(answers.find(({ status }) => status === 429)?.headers['retry-after']).toBeDefined()
    expect((await poll(from('203.0.113.2', 'ann'), [])).status).toBe(200)
    expect((await poll(from('203.0.113.2'), [])).status).toBe(200)
  })

  it('are counted in hello messages, too', async () => {
    await open({ limits })
    const greet = async (ip: string, token: string): Promise<number | 'hello'> => {
      const socket = await Socket.open(origin, { headers: { 'x-forwarded-for': ip } })
      socket.send({ type: 'hello', protocol: 1, token })
      const end = await Promise.race([
        socket.next('hello').then(() => 'hello' as const),
        socket.closed.then(({ code }) => code),
      ])
      socket.close()
      return end
    }
    const codes = await Promise.all(Array.from({ length: 100 }, (_, n) => greet('203.0.113.1', `bad${n}`)))
    expect(codes.filter((code) => code === 4401).length).toBeLessThanOrEqual(burst + 10)
    expect(codes.filter((code) => code === 4429).length).toBeGreaterThanOrEqual(100 - burst - 10)
    expect(authenticated).toBeLessThanOrEqual(burst + 10)
    expect(await greet('203.0.113.2', 'ann')).toBe('hello')
  })
})
