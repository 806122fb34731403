import crossfade from '@crossfade/server'
import { FaultProxy } from '@crossfade/testkit'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Client, type TransportName } from '../src/index.ts'

vi.setConfig({ testTimeout: 30_000 })

let app: FastifyInstance
let proxy: FaultProxy
let client: Client
/** How often the method ran. */
let runs = 0
/** By plain requests. */
let posts: string[] = []

beforeEach(async () => {
  runs = 0
  posts = []
  app = Fastify({ forceCloseConnections: true })
  await app.register(crossfade)
  app.crossfade.log('chat', { public: true })
  app.crossfade.rpc('double', {}, ({ body }) => {
    runs += 1
    return { double: (body as { n: number }).n * 2 }
  })
  proxy = await FaultProxy.start(await app.listen({ host: '127.0.0.1', port: 0 }))
})

afterEach(async () => {
  client.close()
  await proxy.close()
  await app.close()
})

async function open(transport: TransportName): Promise<void> {
  client = createClient({
    origin: proxy.origin,
    transports: [transport],
    environment: { WebSocket },
  })
  client.on('request', ({ url }) => {
    if (url.includes('/rpc/')) posts.push(url)
  })
  const live = new Promise<void>((resolve) => client.on('status', ({ state }) => state === 'live' && resolve()))
  client.subscribe('chat', {})
  await live
}

describe('a call of a method (R34)', () => {
  it('goes over the WebSocket that lives', async () => {
    await open('websocket')
    expect(await client.request('double', { n: 4 })).toEqual({ double: 8 })
    await expect(client.request('none')).rejects.toMatchObject({ code: 'unknown_method' })
    expect([posts, runs]).toEqual([[], 1])
  })

  it.each(['sse', 'longpoll'] as const)('goes by HTTP beside %s, which carries none', async (transport) => {
    await open(transport)
    expect(await client.request('double', { n: 4 })).toEqual({ double: 8 })
    expect([posts.length, runs]).toEqual([1, 1])
  })

  it('goes by HTTP when it is too long for a message, or comes with too many others', async () => {
    await open('websocket')
    expect(await client.request('double', { n: 1, text: 'é'.repeat(25_000) })).toEqual({ double: 2 })
    expect(posts.length).toBe(1)
    const all = await Promise.all(Array.from({ length: 60 }, (_, n) => client.request('double', { n })))
    expect(all).toEqual(all.map((_, n) => ({ double: 2 * n })))
    expect(client.status).toMatchObject({ state: 'live', transport: 'websocket' })
    expect(runs).toBe(61)
  })

  it('whose connection dies before the answer is made again another way, and runs once', async () => {
    let first = true
    app.crossfade.rpc('book', {}, async () => {
      runs += 1
      if (first) proxy.killAll()
      first = false
      return { booked: true }
    })
    await open('websocket')
    expect(await client.request('book')).toEqual({ booked: true })
    expect(runs).toBe(1)
  })
})
