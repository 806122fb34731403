import type { CrossfadeError, ServerMessage } from '@crossfade/protocol'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Client, type ClientOptions, type ClientStatus, type Timing } from '../src/index.ts'
import { ScriptedServer } from './scripted-server.ts'

/** Fast enough for a test; that one thing is later than another never decides. */
const timing: Partial<Timing> = {
  proofMs: 600,
  proofSpacingMs: 30,
  shortLifeMs: 400,
  climbMs: 150,
  maxClimbMs: 300,
  holdMs: 3_000,
  pollSpacingMs: 20,
  shortPollMs: 50,
  probeMs: 500,
  pacingMs: 50,
}

vi.setConfig({ testTimeout: 30_000 })

/** How long what will be so takes decides nothing. */
const patiently = { timeout: 20_000, interval: 5 }

const ignore = (): void => {}
let server: ScriptedServer
const clients: Client[] = []

beforeEach(async () => {
  server = await ScriptedServer.start()
})

afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  await server.close()
})

function open(options: Partial<ClientOptions> = {}): Client {
  const environment = { WebSocket: WebSocket as never, ...options.environment }
  const client = createClient({
    origin: server.origin,
    ...options,
    timing: { ...timing, ...options.timing },
    environment,
  })
  clients.push(client)
  return client
}

/** The status, as soon as it is so. */
async function until(client: Client, isSo: (status: ClientStatus) => boolean): Promise<ClientStatus> {
  if (isSo(client.status)) return client.status
  return new Promise((resolve) => {
    const off = client.on('status', (status) => {
      if (!isSo(status)) return
      off()
      resolve(status)
    })
  })
}

const expiring: ServerMessage = { type: 'error', code: 'token_expiring', message: 'soon' }

const liveOn =
  (transport: string) =>
  (status: ClientStatus): boolean =>
    status.state === 'live' && status.transport === transport

/** A subscription that keeps what it was told. */
function listen(client: Client, topic: string): unknown[] {
  const told: unknown[] = []
  client.subscribe(topic, {
    onValue: (value) => told.push(value),
    onEvent: ({ data }) => told.push(data),
    onError: (error: CrossfadeError) => told.push(error.code),
  })
  return told
}

const ladders = {
  websocket: {},
  sse: { upgrade: 'refuse' },
  longpoll: { upgrade: 'refuse', sse: 'refuse' },
  shortpoll: { upgrade: 'refuse', sse: 'refuse', poll: 'break' },
} as const

describe.each(Object.entries(ladders))('on %s', (transport, script) => {
  it('values and events arrive, each once and in order (R2)', async () => {
    server.block(script)
    server.set('v', 1)
    server.say('l', 'before')
    const client = open()
    const [events, values] = [listen(client, 'l'), listen(client, 'v')]
    await until(client, liveOn(transport))
    await expect.poll(() => values, patiently).toEqual([1])
    for (let n = 2; n <= 4; n++) {
      server.set('v', n)
      server.say('l', n)
      await expect.poll(() => values.at(-1), patiently).toBe(n)
      await expect.poll(() => events.at(-1), patiently).toBe(n)
    }
    expect(events).toEqual([2, 3, 4])
    expect(values).toEqual([1, 2, 3, 4])
  })

  it('goes on from its cursors when its connections are cut, without a repeat (F16)', async () => {
    server.block(script)
    server.set('v', 0)
    server.say('l', 0)
    const client = open()
    const [events, values] = [listen(client, 'l'), listen(client, 'v')]
    await until(client, liveOn(transport))
    await expect.poll(() => values, patiently).toEqual([0])
    server.say('l', 1)
    await expect.poll(() => events, patiently).toEqual([1])
    server.killAll()
    server.say('l', 2)
    server.say('l', 3)
    await expect.poll(() => events, patiently).toEqual([1, 2, 3])
  })

  it('follows topics that come later, and drops those that are left', async () => {
    server.block(script)
    server.set('a', 1)
    server.set('b', 1)
    const client = open()
    const left = client.subscribe('a', {})
    await until(client, liveOn(transport))
    const values = listen(client, 'b')
    await expect.poll(() => values, patiently).toEqual([1])
    left.unsubscribe()
    server.set('b', 2)
    await expect.poll(() => values, patiently).toEqual([1, 2])
  })

  it('a refused topic does not end the others (R54)', async () => {
    server.block(script)
    server.forbidden.add('no')
    server.set('v', 1)
    const client = open()
    const [refused, values] = [listen(client, 'no'), listen(client, 'v')]
    await expect.poll(() => [refused, values], patiently).toEqual([['forbidden'], [1]])
    server.set('v', 2)
    await expect.poll(() => values, patiently).toEqual([1, 2])
    expect(refused).toEqual(['forbidden'])
  })
})

describe.each(Object.entries(ladders))('a topic whose endpoint fails for a moment, on %s', (transport, script) => {
  beforeEach(() => {
    server.block(script)
    server.set('v', 1)
    server.set('other', 1)
  })

  it('is asked for again until it begins, and nobody hears of an error (R40)', async () => {
    server.failing.set('v', 'server_error')
    const client = open()
    const [values, others] = [listen(client, 'v'), listen(client, 'other')]
    await until(client, liveOn(transport))
    await expect.poll(() => [others, server.refusals > 1], patiently).toEqual([[1], true])
    server.failing.clear()
    await expect.poll(() => values, patiently).toEqual([1])
    server.set('v', 2)
    await expect.poll(() => values, patiently).toEqual([1, 2])
  })

  it('goes on from its cursor where it lived before (R3, R40)', async () => {
    server.say('l', 0)
    const client = open()
    const [events, others] = [listen(client, 'l'), listen(client, 'other')]
    await until(client, liveOn(transport))
    await expect.poll(() => others, patiently).toEqual([1])
    server.say('l', 1)
    await expect.poll(() => events, patiently).toEqual([1])
    server.failing.set('l', 'overloaded')
    server.killAll()
    await expect.poll(() => server.refusals, patiently).toBeGreaterThan(0)
    server.say('l', 2)
    server.failing.clear()
    await expect.poll(() => events, patiently).toEqual([1, 2])
  })
})

describe('the ladder', () => {
  beforeEach(() => server.set('v', 1))

  it.each([
    ['is refused', 'refuse'],
    ['hangs', 'hang'],
    ['opens and stays mute', 'mute'],
  ] as const)('steps down when the WebSocket %s, and says why (F1, F2, F4)', async (_what, upgrade) => {
    server.block({ upgrade })
    const client = open()
    const values = listen(client, 'v')
    expect(await until(client, liveOn('sse'))).toMatchObject({ reason: 'ws-blocked' })
    await expect.poll(() => values, patiently).toEqual([1])
  })

  it('steps down after two WebSockets that were killed early (F3)', async () => {
    server.block({ upgrade: 'kill' })
    const client = open()
    listen(client, 'v')
    expect(await until(client, liveOn('sse'))).toMatchObject({ reason: 'unstable' })
    expect(server.count('WS /crossfade/ws')).toBe(2)
  })

  it.each(['hold', 'lag'] as const)('does not trust a stream that is buffered (%s, F5, F6, F6b)', async (sse) => {
    server.block({ upgrade: 'refuse', sse })
    const client = open()
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
    server.tell({ type: 'stage', feature: 'f', stage: 'off', percent: 100, rest: 'off', spread: 0 })
    await heard
    await expect.poll(() => watch.state.stage, patiently).toBe('off')
    await until(client, ({ state }) => state === 'idle')
  })

  it.each(['websocket', 'sse', 'longpoll', 'shortpoll'] as const)(
    'gives back what it has heard of the stages, on %s (R61)',
    async (transport) => {
      const client = open({ transports: [transport] })
      const watch = client.watch('/api/v', { every: 60_000 }, ignore, ignore)
      const given = (): unknown[] =>
        transport === 'websocket'
          ? server.frames.flat().flatMap(({ type, stages }) => (type === 'hello' ? [stages] : []))
          : server.bodies.flatMap(({ path, body }) =>
              /sse|poll/.test(path) ? [(body as { stages?: string }).stages] : [],
            )
      const message = { type: 'stage', feature: 'f', percent: 100, rest: 'off', spread: 0 } as const
      await until(client, liveOn(transport))
      expect(new Set(given())).toEqual(new Set(['']))
      server.tell({ ...message, stage: 'hint', stages: 'heard' })
      await expect.poll(() => watch.state.stage, patiently).toBe('hint')
      server.killAll()
      await expect.poll(() => given().at(-1), patiently).toBe('heard')
      await until(client, liveOn(transport))
      // What changed since then it has heard of, and what else did, it has not.
      server.tell({ ...message, stage: 'push' })
      await expect.poll(() => watch.state.stage, patiently).toBe('push')
      server.killAll()
      await expect.poll(() => given().at(-1), patiently).toBe('')
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
