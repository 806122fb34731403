import crossfade from '@crossfade/server'
import type { EventMessage, Stage } from '@crossfade/protocol'
import { FaultProxy } from '@crossfade/testkit'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Client, type TransportName } from '../src/index.ts'

const ignore = (): void => {}
/** How long what will be so takes decides nothing. */
const patiently = { timeout: 30_000, interval: 5 }

interface Entry {
  id: number
}

let app: FastifyInstance
let proxy: FaultProxy
let client: Client
let version = 1
let entries: Entry[] = []
let job: object | null = null

beforeEach(async () => {
  version = 1
  entries = []
  app = Fastify({ forceCloseConnections: true })
  await app.register(crossfade)
  app.get('/api/board', { config: { crossfade: { topic: 'board', feature: 'board', audience: 'public' } } }, () => ({
    version,
  }))
  const log = { log: 'chat', key: 'id', event: 'said', feature: 'chat', audience: 'public' as const }
  app.get('/api/chat', { config: { crossfade: log } }, () => entries)
  const now = { topic: 'job', feature: 'job', audience: 'public' as const }
  app.get('/api/job', { config: { crossfade: now } }, (_request, reply) => job ?? reply.code(204).send())
  const shelf = { topic: 'shelf', feature: 'shelf', audience: 'public' as const, vary: ['X-Tenant'] }
  app.get('/api/shelf', { config: { crossfade: shelf } }, ({ headers }) => ({
    tenant: headers['x-tenant'] ?? 'none',
    version,
  }))
  proxy = await FaultProxy.start(await app.listen({ host: '127.0.0.1', port: 0 }))
})

afterEach(async () => {
  client.close()
  await proxy.close()
  await app.close()
})

function open(transports: readonly TransportName[]): Client {
  client = createClient({
    origin: proxy.origin,
    transports,
    environment: { WebSocket },
    timing: { proofMs: 2_000, shortPollMs: 100, pollSpacingMs: 50, climbMs: 300, maxClimbMs: 600 },
  })
  return client
}

function write(): number {
  version += 1
  app.crossfade.invalidate('board')
  return version
}

async function say(): Promise<void> {
  const entry = { id: entries.length + 1 }
  entries = [...entries, entry]
  await app.crossfade.publish('chat', 'said', entry, { key: String(entry.id) })
}

describe.each(['websocket', 'sse', 'longpoll', 'shortpoll'] as const)('with the server, on %s', (transport) => {
  it('a feature goes through all stages and back, and no change is missed', async () => {
    const shown: number[] = []
    const drifts: unknown[] = []
    open([transport]).on('drift', (drift) => drifts.push(drift))
    const watch = client.watch<{ version: number }>('/api/board', { every: 100 }, (value) => {
      if (value.version !== shown.at(-1)) shown.push(value.version)
    })
    await expect.poll(() => shown, patiently).toEqual([1])
    for (const stage of ['shadow', 'hint', 'push', 'hint', 'shadow', 'push', 'off'] as Stage[]) {
      app.crossfade.rollout.set('board', { stage })
      const during = write()
      await expect.poll(() => [shown.at(-1), watch.state.stage], patiently).toEqual([during, stage])
      const after = write()
      await expect.poll(() => shown.at(-1), patiently).toBe(after)
    }
    expect(shown).toEqual(shown.toSorted((a, b) => a - b))
    expect(watch.state.parity.disagree).toBe(0)
    expect(drifts).toEqual([])
  })

  it('a stage that was changed while nobody listened is told to who comes again (R61)', async () => {
    app.crossfade.rollout.set('board', { stage: 'push' })
    const watch = open([transport]).watch('/api/board', { every: 600_000 }, ignore, ignore)
    await expect.poll(() => watch.state, patiently).toMatchObject({ stage: 'push', live: true })
    for (const stage of ['hint', 'push', 'hint', 'push'] as const) {
      // Between two polls at once; a stream first loses its connection.
      if (transport !== 'longpoll') proxy.killAll()
      app.crossfade.rollout.set('board', { stage })
      await expect.poll(() => watch.state.stage, { timeout: 20_000, interval: 1 }).toBe(stage)
    }
  })

  it('a list that grows by events has each entry once, whatever is cut', async () => {
    app.crossfade.rollout.set('chat', { stage: 'push' })
    for (let count = 0; count < 3; count++) await say()
    let list: Entry[] = []
    open([transport]).watch<Entry[]>(
      '/api/chat',
      {
        every: 60_000,
        append: (current, event: EventMessage) => [...current, event.data as Entry],
        keys: (current) => current.map(({ id }) => String(id)),
      },
      (value) => (list = value),
    )
    for (let round = 0; round < 6; round++) {
      for (let count = 0; count < 5; count++) {
        await say()
        if (count === round) proxy.killAll()
      }
      await expect.poll(() => list, patiently).toEqual(entries)
    }
  })
})

describe('with the server', () => {
  it('no content is the value null, while it is polled and when it is pushed (R16)', async () => {
    job = null
    const shown: unknown[] = []
    const watch = open(['websocket']).watch('/api/job', { every: 100 }, (value) => {
      if (JSON.stringify(value) !== JSON.stringify(shown.at(-1))) shown.push(value)
    })
    await expect.poll(() => shown, patiently).toEqual([null])
    app.crossfade.rollout.set('job', { stage: 'push' })
    await expect.poll(() => watch.state.live, patiently).toBe(true)
    for (const next of [{ id: 7 }, null]) {
      job = next
      app.crossfade.invalidate('job')
      await expect.poll(() => shown.at(-1), patiently).toEqual(next)
    }
    expect(shown).toEqual([null, { id: 7 }, null])
  })

  it('a page whose requests say what no subscription can goes on polling, and sees its own answers only (R10)', async () => {
    app.crossfade.rollout.set('shelf', { stage: 'push' })
    const headers = { 'x-tenant': 'red' }
    const shown: { tenant: string; version: number }[] = []
    const red = open(['websocket']).watch<(typeof shown)[0]>('/api/shelf', { every: 50, headers }, (value) =>
      shown.push(value),
    )
    const plain: unknown[] = []
    const none = client.watch('/api/shelf', { every: 50 }, (value) => plain.push(value))
    await expect.poll(() => none.state, patiently).toMatchObject({ stage: 'push', live: true })
    // The answer of another tenant is not the topic's, whoever asked for it.
    expect(await (await client.fetch('/api/shelf', { headers })).json()).toMatchObject({ tenant: 'red' })
    version += 1
    app.crossfade.invalidate('shelf')
    await expect.poll(() => plain.at(-1), patiently).toEqual({ tenant: 'none', version })
    await expect.poll(() => shown.at(-1), patiently).toEqual({ tenant: 'red', version })
    expect(red.state).toMatchObject({ stage: 'off', live: false })
    expect(new Set(shown.map(({ tenant }) => tenant))).toEqual(new Set(['red']))
    expect(JSON.stringify(plain)).not.toContain('red')
  })

  it('what is wanted in addition is carried by the next long poll, not only when that one ends (R20)', async () => {
    for (const feature of ['board', 'shelf']) app.crossfade.rollout.set(feature, { stage: 'push' })
    const first = open(['longpoll']).watch('/api/board', { every: 600_000 }, ignore)
    await expect.poll(() => first.state.live, patiently).toBe(true)
    const second = client.watch('/api/shelf', { every: 600_000 }, ignore)
    await expect.poll(() => second.state.live, { timeout: 15_000 }).toBe(true)
  })

  it('the same watch goes on from rung to rung as networks block and unblock (F1, F5, F25)', async () => {
    app.crossfade.rollout.set('board', { stage: 'push' })
    const shown: number[] = []
    open(['websocket', 'sse', 'longpoll', 'shortpoll'])
    client.watch<{ version: number }>('/api/board', { every: 60_000 }, (value) => shown.push(value.version))
    const carries = async (transport: TransportName, reason: string | null): Promise<void> => {
      await expect.poll(() => client.status, patiently).toMatchObject({ state: 'live', transport, reason })
      const written = write()
      await expect.poll(() => shown.at(-1), patiently).toBe(written)
    }
    await carries('websocket', null)
    proxy.faults.upgrade = 'refuse'
    proxy.killAll()
    await carries('sse', 'ws-blocked')
    proxy.faults.stream = 'hold'
    proxy.killAll()
    await carries('longpoll', 'sse-buffered')
    // What comes back is not "because nothing answers" (F9).
    proxy.faults.blockedPath = '/crossfade'
    proxy.killAll()
    await expect.poll(() => client.status, patiently).toMatchObject({ transport: 'endpoint', reason: 'server-down' })
    proxy.faults.blockedPath = null
    await carries('longpoll', 'sse-buffered')
    proxy.heal()
    await carries('websocket', null)
    expect(new Set(shown).size).toBe(shown.length)
    expect(shown).toEqual(shown.toSorted((a, b) => a - b))
  })
})
