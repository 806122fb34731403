import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade from '../src/index.ts'
import { ofType } from './shop.ts'
import { Stream } from './stream.ts'

let app: FastifyInstance
afterEach(() => app.close())

async function listen(
  options: FastifyServerOptions,
  prepare: (app: FastifyInstance) => void = () => {},
): Promise<{ origin: string; warnings: string[] }> {
  const warnings: string[] = []
  const logger = {
    level: 'warn',
    stream: { write: (line: string) => warnings.push((JSON.parse(line) as { msg: string }).msg) },
  }
  app = Fastify({ forceCloseConnections: true, logger, ...options })
  await app.register(crossfade)
  app.get('/value', { config: { crossfade: { topic: 'value', audience: 'public' } } }, () => ({ v: 1 }))
  app.crossfade.log('ticks/:symbol', { public: true })
  prepare(app)
  return { origin: await app.listen({ host: '127.0.0.1', port: 0 }), warnings }
}

/** A long poll of the endpoint for as long as there may be. */
async function hold(origin: string, path = '/value'): Promise<Response> {
  const etag = (await fetch(origin + path)).headers.get('etag') ?? ''
  return fetch(origin + path, { headers: { prefer: 'wait=20', 'if-none-match': etag } })
}

/** A long poll of `{base}`. */
async function poll(origin: string): Promise<Response> {
  const ask = (cursor?: string): Promise<Response> =>
    fetch(`${origin}/crossfade/poll`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ topics: { 'ticks/a': { cursor } }, wait: 20_000 }),
    })
  const { topics } = (await (await ask()).json()) as { topics: { 'ticks/a': { cursor: string } } }
  return ask(topics['ticks/a'].cursor)
}

describe('beside the time-outs of the application', () => {
  it('heartbeats and held requests stay below connectionTimeout, and clients are told (R12, R25, F18)', async () => {
    const { origin, warnings } = await listen({ connectionTimeout: 2_400 })
    const stream = await Stream.open(`${origin}/crossfade/sse`, { body: { topics: { 'ticks/a': {} } } })
    const [held, polled] = await Promise.all([hold(origin), poll(origin)])
    expect([held.status, held.headers.get('preference-applied')]).toEqual([304, 'wait=1'])
    expect(await polled.json()).toMatchObject({ messages: [] })
    expect(ofType(stream.messages, 'hello')[0]).toMatchObject({ heartbeat: 800 })
    await expect.poll(() => ofType(stream.messages, 'heartbeat').length).toBeGreaterThanOrEqual(3)
    await app.crossfade.publish('ticks/a', 'tick', 1)
    await expect.poll(() => ofType(stream.messages, 'event').length).toBe(1)
    stream.close()
    expect(warnings).toEqual([expect.stringContaining('heartbeatMs is 800 in place of 15000')])
  })

  it('they do so too where the time-out is set on the server itself, after the plugin', async () => {
    const { origin, warnings } = await listen({}, ({ server }) => server.setTimeout(1_000))
    expect((await hold(origin)).status).toBe(304)
    expect(warnings).toEqual([expect.stringContaining('maxHoldMs is 500 in place of 25000')])
  })

  it('held requests stay below handlerTimeout, of the application or of a route', async () => {
    const { origin } = await listen({ handlerTimeout: 1_000 })
    expect((await hold(origin)).status).toBe(304)
    expect((await poll(origin)).status).toBe(200)
    await app.close()
    const other = await listen({}, (own) => {
      own.get('/own', { handlerTimeout: 800, config: { crossfade: { topic: 'own', audience: 'public' } } }, () => ({}))
    })
    expect((await hold(other.origin, '/own')).status).toBe(304)
  })

  it('nothing is shortened where it fits (R12)', async () => {
    const { warnings } = await listen({ connectionTimeout: 60_000, requestTimeout: 1_000, keepAliveTimeout: 1_000 })
    expect(warnings).toEqual([])
  })
})
