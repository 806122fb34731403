import { beforeEach, describe, expect, it, vi } from 'vitest'
import { createClient } from '../src/index.ts'
import { liveOn, open, patiently, server, until } from './scripted-client.ts'

const ignore = (): void => {}

describe('watch()', () => {
  it('tells the console of a page that breaks, when nobody else wants to know', async () => {
    const told = vi.spyOn(console, 'error').mockImplementation(() => {})
    server.set('v', 1)
    const broken = new Error('price is null')
    open().watch('/api/v', { every: 60_000 }, () => {
      throw broken
    })
    await expect.poll(() => told.mock.calls, patiently).toEqual([[broken]])
    told.mockRestore()
  })

  beforeEach(() => server.set('v', 1))

  it('makes no connection at off: its requests are those of the loop', async () => {
    server.stage = 'off'
    const client = open()
    const values: unknown[] = []
    client.watch('/api/v', { every: 30 }, (value) => values.push(value))
    await expect.poll(() => values.length, patiently).toBeGreaterThan(4)
    expect(new Set(server.requests)).toEqual(new Set(['GET /api/v']))
    expect(client.status.state).toBe('idle')
  })

  it('shows the endpoint first, then what is pushed', async () => {
    const client = open()
    const shown: unknown[] = []
    client.watch('/api/v', { every: 60_000 }, (value, { source, transport }) => shown.push([value, source, transport]))
    await until(client, liveOn('websocket'))
    server.set('v', 2)
    await expect
      .poll(() => shown, patiently)
      .toEqual([
        [1, 'poll', 'endpoint'],
        [2, 'push', 'websocket'],
      ])
    expect(server.count('GET /api/v')).toBe(1)
  })

  it('polls its endpoint when everything of Crossfade is blocked', async () => {
    server.block({ upgrade: 'refuse', sse: 'refuse', poll: 'refuse', probe: 'down' })
    const client = open()
    const values: unknown[] = []
    client.watch('/api/v', { every: 30 }, (value) => values.push(value))
    await until(client, ({ state }) => state === 'polling')
    server.set('v', 2)
    await expect.poll(() => values.at(-1), patiently).toBe(2)
    expect(client.status.transport).toBe('endpoint')
  })

  it('is told of stages by push (R61)', async () => {
    const client = open()
    const watch = client.watch('/api/v', { every: 60_000 }, () => {})
    await until(client, liveOn('websocket'))
    const heard = new Promise((resolve) => client.on('stage', resolve))
    server.stage = 'off'
    server.tell({ type: 'stage', feature: 'f', stage: 'off', percent: 100, rest: 'off', version: 2, spread: 0 })
    await heard
    await expect.poll(() => watch.state.stage, patiently).toBe('off')
    await until(client, ({ state }) => state === 'idle')
  })

  it.each(['websocket', 'sse', 'longpoll', 'shortpoll'] as const)(
    'says up to which version it has heard of the stages, on %s (R61)',
    async (transport) => {
      const client = open({ transports: [transport] })
      const watch = client.watch('/api/v', { every: 60_000 }, ignore, ignore)
      const given = (): unknown[] =>
        transport === 'websocket'
          ? server.frames.flat().flatMap(({ type, stagesSince }) => (type === 'hello' ? [stagesSince] : []))
          : server.bodies.flatMap(({ path, body }) =>
              /sse|poll/.test(path) ? [(body as { stagesSince?: number }).stagesSince] : [],
            )
      const message = { type: 'stage', feature: 'f', percent: 100, rest: 'off', spread: 0 } as const
      await until(client, liveOn(transport))
      expect(new Set(given())).toEqual(new Set([0]))
      server.tell({ ...message, stage: 'hint', version: 2 })
      await expect.poll(() => watch.state.stage, patiently).toBe('hint')
      server.killAll()
      await expect.poll(() => given().at(-1), patiently).toBe(2)
      await until(client, liveOn(transport))
      server.tell({ ...message, stage: 'push', version: 5 })
      await expect.poll(() => watch.state.stage, patiently).toBe('push')
      server.killAll()
      await expect.poll(() => given().at(-1), patiently).toBe(5)
    },
  )

  it('shows what the application read by itself, if it is newer (R8)', async () => {
    const client = open()
    const shown: unknown[] = []
    client.watch('/api/v', { every: 60_000 }, (value) => shown.push(value))
    await until(client, liveOn('websocket'))
    server.values.set('v', [1, 2])
    const response = await client.fetch('/api/v')
    expect(await response.json()).toBe(2)
    await expect.poll(() => shown, patiently).toEqual([1, 2])
  })
})

describe('request()', () => {
  it('gives the result', async () => {
    server.calls.push({ result: { ok: true } })
    expect(await open().request('chat.send', { text: 'hi' })).toEqual({ ok: true })
  })

  it('repeats a call whose answer was lost under the same key (R34)', async () => {
    server.calls.push(null, { result: 7 })
    expect(await open().request('chat.send')).toBe(7)
    const keys = server.bodies.map(({ headers }) => headers['idempotency-key'])
    expect(keys).toHaveLength(2)
    expect(keys[0]).toBe(keys[1])
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/)
  })

  it('tells when no answer came', async () => {
    server.calls.push(null, null, null)
    await expect(open().request('chat.send')).rejects.toMatchObject({ code: 'transport_failed' })
  })
})

describe('createClient()', () => {
  it('needs an origin where there is no page', () => {
    expect(() => createClient()).toThrow(expect.objectContaining({ code: 'invalid_options' }))
  })

  it('tells of every request', async () => {
    server.set('v', 1)
    const client = open()
    const records: unknown[] = []
    client.on('request', ({ method, url, status }) => records.push([method, new URL(url).pathname, status]))
    await client.fetch('/api/v')
    expect(records).toEqual([['GET', '/api/v', 200]])
  })
})
