import { beforeEach, describe, expect, it } from 'vitest'
import { listen, liveOn, open, patiently, server, until } from './scripted-client.ts'

/** For a transport that never proves itself. */
const soonBlamed = { proofMs: 1_000 }

describe('the ladder', () => {
  beforeEach(() => server.set('v', 1))

  it.each([
    ['is refused', 'refuse'],
    ['hangs', 'hang'],
    ['opens and stays mute', 'mute'],
  ] as const)('steps down when the WebSocket %s, and says why (F1, F2, F4)', async (_what, upgrade) => {
    server.block({ upgrade })
    const client = open({ timing: soonBlamed })
    const values = listen(client, 'v')
    expect(await until(client, liveOn('sse'))).toMatchObject({ reason: 'ws-blocked' })
    await expect.poll(() => values, patiently).toEqual([1])
  })

  it('steps down after two WebSockets that were killed early (F3)', async () => {
    server.block({ upgrade: 'kill' })
    const client = open({ timing: { shortLifeMs: 60_000 } })
    listen(client, 'v')
    expect(await until(client, liveOn('sse'))).toMatchObject({ reason: 'unstable' })
    expect(server.count('WS /crossfade/ws')).toBe(2)
  })

  it.each(['hold', 'lag'] as const)('does not trust a stream that is buffered (%s, F5, F6, F6b)', async (sse) => {
    server.block({ upgrade: 'refuse', sse })
    const client = open({ timing: soonBlamed })
    const values = listen(client, 'v')
    expect(await until(client, liveOn('longpoll'))).toMatchObject({ reason: 'sse-buffered' })
    expect(values.filter((value) => value === 1)).toHaveLength(1)
  })

  it('does not step down when the server is down, and comes back where it was (F9)', async () => {
    const client = open()
    const values = listen(client, 'v')
    await until(client, liveOn('websocket'))
    await expect.poll(() => values, patiently).toEqual([1])
    server.block({ upgrade: 'down', sse: 'down', poll: 'down', probe: 'down' })
    server.killAll()
    const { reason, retryAt } = await until(
      client,
      (status) => status.reason === 'server-down' && status.retryAt !== null,
    )
    expect([reason, retryAt]).toEqual(['server-down', expect.any(Number)])
    server.heal()
    server.set('v', 2)
    expect(await until(client, liveOn('websocket'))).toMatchObject({ reason: null })
    await expect.poll(() => values, patiently).toEqual([1, 2])
    expect(server.count('POST')).toBe(0)
  })

  it('climbs back when the block ends, and repeats nothing (F25)', async () => {
    server.block({ upgrade: 'refuse', sse: 'refuse' })
    server.say('l', 0)
    const client = open()
    const [events, values] = [listen(client, 'l'), listen(client, 'v')]
    await until(client, liveOn('longpoll'))
    await expect.poll(() => values, patiently).toEqual([1])
    server.block({ sse: 'pass' })
    server.say('l', 1)
    await until(client, liveOn('sse'))
    server.say('l', 2)
    server.heal()
    expect(await until(client, liveOn('websocket'))).toMatchObject({ reason: null })
    server.say('l', 3)
    await expect.poll(() => events, patiently).toEqual([1, 2, 3])
  })

  it('climbs without harm to what the present transport carries, though the server refuses to have it twice (F25, R54)', async () => {
    server.block({ upgrade: 'refuse' })
    const client = open()
    const values = listen(client, 'v')
    await until(client, liveOn('sse'))
    await expect.poll(() => values, patiently).toEqual([1])
    server.isCrowded = true
    server.heal()
    await until(client, liveOn('websocket'))
    server.set('v', 2)
    await expect.poll(() => values, patiently).toEqual([1, 2])
  })

  it('does not step down when the server ends streams on purpose (F8)', async () => {
    server.block({ upgrade: 'refuse', sse: 'bye' })
    const client = open()
    const seen: (string | null)[] = []
    client.on('status', ({ state, transport }) => state === 'live' && seen.push(transport))
    listen(client, 'v')
    await expect.poll(() => seen.length, patiently).toBeGreaterThanOrEqual(4)
    expect(new Set(seen)).toEqual(new Set(['sse']))
  })

  it('works without a WebSocket in the platform, and tries nothing that is not there', async () => {
    const client = open({ environment: { WebSocket: null } })
    const values = listen(client, 'v')
    expect(await until(client, liveOn('sse'))).toMatchObject({ reason: 'unsupported' })
    server.set('v', 2)
    await expect.poll(() => values, patiently).toEqual([1, 2])
    // Climbing finds nothing either, again and again.
    await new Promise<void>((resolve) => {
      const off = client.on('status', () => {
        off()
        resolve()
      })
    })
    expect(client.status.transport).toBe('sse')
  })

  it('begins anew at the top when the whole ladder failed and the server answers', async () => {
    server.block({ upgrade: 'refuse', sse: 'refuse', poll: 'refuse' })
    const client = open()
    const values = listen(client, 'v')
    await until(client, ({ state }) => state === 'polling')
    server.block({ upgrade: 'pass' })
    await until(client, liveOn('websocket'))
    await expect.poll(() => values, patiently).toEqual([1])
  })

  it('holds polls for the others while a topic fails (R20)', async () => {
    server.block({ upgrade: 'refuse', sse: 'refuse' })
    server.failing.set('fails', 'server_error')
    const client = open({ environment: { random: () => 0.99 } })
    const [values] = [listen(client, 'v'), listen(client, 'fails')]
    await until(client, liveOn('longpoll'))
    const held = (): object[] =>
      server.bodies.map(({ body }) => body as { topics: object; wait: number }).filter(({ wait }) => wait > 0)
    await expect.poll(() => held().map(({ topics }: any) => Object.keys(topics)), patiently).toContainEqual(['v'])
    server.set('v', 2)
    await expect.poll(() => values, patiently).toEqual([1, 2])
  })

  it('learns how long polls may be held from a gateway that cuts them (F18)', async () => {
    server.block({ upgrade: 'refuse', sse: 'refuse', poll: 'cut' })
    const client = open()
    const values = listen(client, 'v')
    await until(client, liveOn('longpoll'))
    const waits = (): number[] =>
      server.bodies.filter(({ path }) => path.endsWith('/poll')).map(({ body }) => (body as { wait: number }).wait)
    await expect.poll(() => waits().filter((wait) => wait > 0 && wait < 1_200).length, patiently).toBeGreaterThan(0)
    server.set('v', 2)
    await expect.poll(() => values, patiently).toEqual([1, 2])
    expect(client.status.transport).toBe('longpoll')
  })
})
