import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, expect, it } from 'vitest'
import crossfade from '../src/index.ts'
import { ofType } from './shop.ts'
import { Socket } from './socket.ts'

let app: FastifyInstance
let origin: string
/** Whom the endpoint answers. */
let admits: (ip: string) => boolean
let runs: number
afterEach(() => app.close())

async function open(): Promise<void> {
  runs = 0
  app = Fastify({ forceCloseConnections: true, trustProxy: true })
  await app.register(crossfade)
  app.get('/board', { config: { crossfade: { topic: 'board', audience: 'public' } } }, async (request, reply) => {
    runs += 1
    return admits(request.ip) ? { secret: 42 } : reply.code(403).send({ error: 'not from here' })
  })
  app.get('/news', { config: { crossfade: { log: 'news', key: 'id' } } }, async (request, reply) =>
    admits(request.ip) ? [] : reply.code(403).send({ error: 'not from here' }),
  )
  origin = await app.listen({ host: '127.0.0.1', port: 0 })
}

const from = (ip: string): Promise<Socket> => Socket.greet(origin, undefined, { headers: { 'x-forwarded-for': ip } })

async function subscribe(socket: Socket, topic: string): Promise<string> {
  socket.send({ type: 'subscribe', id: topic, topic })
  await expect.poll(() => socket.messages.some(({ type }) => type === 'subscribed' || type === 'error')).toBe(true)
  return ofType(socket.messages, 'error').at(-1)?.code ?? 'subscribed'
}

it.each(['board', 'news'])(
  'what %s answers one network address is not granted to another that it refuses (R14)',
  async (topic) => {
    admits = (ip) => ip === '203.0.113.7'
    await open()
    expect(await subscribe(await from('203.0.113.7'), topic)).toBe('subscribed')
    expect(await subscribe(await from('198.51.100.9'), topic)).toBe('forbidden')
  },
)

it('a public route that answers all addresses alike is asked twice, however many come from wherever (R52)', async () => {
  admits = () => true
  await open()
  const addresses = Array.from({ length: 20 }, (_, i) => `203.0.113.${i + 1}`)
  expect(await subscribe(await from('198.51.100.9'), 'board')).toBe('subscribed')
  const others = await Promise.all(addresses.map(async (ip) => subscribe(await from(ip), 'board')))
  expect(new Set(others)).toEqual(new Set(['subscribed']))
  expect(runs).toBe(2)
})
