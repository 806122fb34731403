import type { ServerMessage } from '@crossfade/protocol'
import { beforeEach, describe, expect, it } from 'vitest'
import { listen, liveOn, open, patiently, server, until } from './scripted-client.ts'

const expiring: ServerMessage = { type: 'error', code: 'token_expiring', message: 'soon' }

describe('a connection', () => {
  beforeEach(() => server.set('v', 1))

  it.each(['websocket', 'sse'] as const)(
    'asks for one fresh token when the old one is refused (%s, F14)',
    async (transport) => {
      server.tokens = new Set(['new'])
      const asked: boolean[] = []
      const token = (refresh: boolean): string => {
        asked.push(refresh)
        return refresh ? 'new' : 'old'
      }
      const client = open({ token, transports: [transport] })
      const values = listen(client, 'v')
      if (transport === 'sse') server.tokens = null
      await until(client, liveOn(transport))
      await expect.poll(() => values, patiently).toEqual([1])
      expect(asked).toEqual(transport === 'sse' ? [false] : [false, true])
    },
  )

  it('goes on under a new token when the server asks ahead (R53)', async () => {
    const client = open({ token: (refresh) => (refresh ? 'new' : 'old') })
    listen(client, 'v')
    await until(client, liveOn('websocket'))
    server.tell(expiring)
    await expect.poll(() => server.frames.flat(), patiently).toContainEqual({ type: 'token', token: 'new' })
    expect(server.count('WS')).toBe(1)
  })

  it('goes on in a stream under a new token when the server asks ahead (R53)', async () => {
    const client = open({ transports: ['sse'], token: (refresh) => (refresh ? 'new' : 'old') })
    const values = listen(client, 'v')
    await until(client, liveOn('sse'))
    server.tell(expiring)
    const tokens = (): unknown[] => server.bodies.map(({ headers }) => headers.authorization)
    await expect.poll(tokens, patiently).toEqual(['Bearer old', 'Bearer new'])
    server.set('v', 2)
    await expect.poll(() => values, patiently).toEqual([1, 2])
  })

  it.each(['websocket', 'sse'] as const)('stays as it is while the token is the same (%s, R53)', async (transport) => {
    let refreshes = 0
    const token = (refresh: boolean): string => {
      if (refresh) refreshes += 1
      return 'same'
    }
    const client = open({ transports: [transport], token })
    const values = listen(client, 'v')
    await until(client, liveOn(transport))
    for (let n = 2; n < 10; n++) {
      server.tell(expiring)
      server.set('v', n)
      await expect.poll(() => values.at(-1), patiently).toBe(n)
    }
    expect(server.frames.flat().filter(({ type }) => type === 'token')).toEqual([])
    expect([refreshes, server.requests.length]).toEqual([1, 1])
  })

  it.each(['websocket', 'sse'] as const)('takes a new token only once in a while (%s, R53)', async (transport) => {
    let refreshes = 0
    const token = (refresh: boolean): string => `t${refresh ? (refreshes += 1) : 0}`
    const client = open({ transports: [transport], token })
    const values = listen(client, 'v')
    await until(client, liveOn(transport))
    for (let n = 2; n < 10; n++) {
      server.tell(expiring)
      server.set('v', n)
      await expect.poll(() => values.at(-1), patiently).toBe(n)
    }
    expect(refreshes).toBe(1)
  })

  it('takes the next new token when the time has come (R53)', async () => {
    let refreshes = 0
    const token = (refresh: boolean): string => `t${refresh ? (refreshes += 1) : 0}`
    const client = open({ token, timing: { renewMs: 1 } })
    listen(client, 'v')
    await until(client, liveOn('websocket'))
    const sent = (): unknown[] => {
      server.tell(expiring)
      return server.frames.flat().filter(({ type }) => type === 'token')
    }
    await expect.poll(() => sent().length, patiently).toBeGreaterThan(1)
  })

  it('blames no transport for a token that cannot be had', async () => {
    let isDown = true
    const token = (): Promise<string> => (isDown ? Promise.reject(new Error('no')) : Promise.resolve('t'))
    const client = open({ token })
    listen(client, 'v')
    expect(await until(client, ({ reason }) => reason === 'auth')).toMatchObject({ state: 'polling' })
    isDown = false
    expect(await until(client, (status) => status.state === 'live')).toMatchObject({ transport: 'websocket' })
  })

  it('stays away when the server says so', async () => {
    const client = open()
    listen(client, 'v')
    await until(client, liveOn('websocket'))
    server.bye(4403, null)
    expect(await until(client, ({ state }) => state === 'stopped')).toMatchObject({ reason: 'refused' })
    expect(server.count('WS')).toBe(1)
  })

  it('comes back on the same transport after a drain (F8)', async () => {
    const client = open()
    const values = listen(client, 'v')
    await until(client, liveOn('websocket'))
    await expect.poll(() => values, patiently).toEqual([1])
    server.bye(1001, 0)
    await until(client, ({ state }) => state !== 'live')
    server.set('v', 2)
    await until(client, liveOn('websocket'))
    await expect.poll(() => values, patiently).toEqual([1, 2])
    expect(server.count('POST')).toBe(0)
  })

  it('subscribes to many topics in bursts that the server takes (PROTOCOL §8)', async () => {
    for (let n = 0; n < 200; n++) server.set(`v/${n}`, n)
    const client = open()
    const values = Array.from({ length: 200 }, (_, n) => listen(client, `v/${n}`))
    await expect.poll(() => values.flat().length, patiently).toBe(200)
    expect(Math.max(...server.frames.map((frame) => frame.length))).toBeLessThanOrEqual(80)
  })

  it('is closed when nothing is followed any more, and by close()', async () => {
    const client = open()
    const subscription = client.subscribe('v', {})
    await until(client, liveOn('websocket'))
    subscription.unsubscribe()
    await until(client, ({ state }) => state === 'idle')
    client.close()
    expect(() => client.subscribe('v', {})).toThrow(expect.objectContaining({ code: 'client_closed' }))
  })

  it('is tested when the page wakes (F21, F22)', async () => {
    let wake = (): void => {}
    const onWake = (run: () => void): (() => void) => {
      wake = run
      return () => {}
    }
    const client = open({ environment: { onWake } })
    listen(client, 'v')
    await until(client, liveOn('websocket'))
    const pings = (): number => server.frames.flat().filter(({ type }) => type === 'ping').length
    const before = pings()
    wake()
    await expect.poll(pings, patiently).toBe(before + 1)
  })

  it('is closed while the page sleeps, and resumes when it wakes', async () => {
    const signals = { wake: (): void => {}, sleep: (): void => {} }
    const environment = {
      onWake: (run: () => void) => ((signals.wake = run), () => {}),
      onSleep: (run: () => void) => ((signals.sleep = run), () => {}),
    }
    const client = open({ environment })
    const values = listen(client, 'v')
    await until(client, liveOn('websocket'))
    await expect.poll(() => values, patiently).toEqual([1])
    signals.sleep()
    expect(client.status.state).toBe('idle')
    server.set('v', 2)
    signals.wake()
    await expect.poll(() => values, patiently).toEqual([1, 2])
  })
})
