import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { identityOf, type Identity } from '../src/identity/principal.ts'
import { RpcRegistry, type RpcHandler } from '../src/rpc/rpc-registry.ts'
import { openShop, type Shop } from './shop.ts'
import { Socket } from './socket.ts'

const ann = identityOf({ id: 'ann' }, {}, [])
const minuteMs = 60_000

let rpc: RpcRegistry
let reported: string[]

function open(handler: RpcHandler): void {
  reported = []
  rpc = new RpcRegistry((error, context) => reported.push(`${context}: ${String(error)}`))
  rpc.register('method', () => {}, handler)
}

function call(identity: Identity = ann, params: unknown = {}): ReturnType<RpcRegistry['call']> {
  return rpc.call(identity, { id: 'r'.repeat(22), method: 'method', params })
}

afterEach(() => rpc.close())

describe('a result that is not JSON', () => {
  const circle: { self?: unknown } = {}
  circle.self = circle

  it.each([
    ['a bigint', { total: 1n }],
    ['a circle', circle],
    ['a function', () => 1],
  ])('fails its call, is reported, and is the answer of a repetition too (R34): %s', async (_name, result) => {
    open(() => result)
    const outcome = await call()
    expect(outcome).toMatchObject({ error: { code: 'server_error' } })
    expect(reported).toEqual([expect.stringMatching(/^method method: TypeError/)])
    expect(await call()).toEqual(outcome)
    expect(reported.length).toBe(1)
  })

  it('is answered over a WebSocket, and the connection goes on', async () => {
    open(() => null)
    const shop: Shop = await openShop()
    shop.app.crossfade.rpc('sum', {}, () => ({ total: 1n }))
    const socket = await Socket.greet(await shop.listen())
    const id = 's'.repeat(22)
    socket.send({ type: 'request', id, method: 'sum' }, { type: 'ping', n: 7 })
    expect(await socket.next('response')).toMatchObject({ id, error: { code: 'server_error' } })
    socket.send({ type: 'ping', n: 8 })
    await expect
      .poll(() => socket.messages.some((message) => message.type === 'heartbeat' && message.n === 8))
      .toBe(true)
    socket.close()
    await shop.app.close()
  })
})

it('answers a repetition with the outcome of the first call, whatever has changed since (R34)', async () => {
  const orders = [1]
  open(() => ({ orders, at: new Date(0) }))
  const first = await call()
  orders.push(2)
  expect(first).toEqual({ result: { orders: [1], at: '1970-01-01T00:00:00.000Z' } })
  expect(await call()).toEqual(first)
})

describe('a repetition', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('of a long-running call waits for its answer, and has two minutes from then (R34)', async () => {
    let runs = 0
    let finish = (): void => {}
    open(async () => {
      runs += 1
      await new Promise<void>((resolve) => (finish = resolve))
      return { run: runs }
    })
    const first = call()
    await vi.advanceTimersByTimeAsync(10 * minuteMs)
    const second = call()
    finish()
    expect(await Promise.all([first, second])).toEqual([{ result: { run: 1 } }, { result: { run: 1 } }])
    await vi.advanceTimersByTimeAsync(2 * minuteMs - 1)
    expect(await call()).toEqual({ result: { run: 1 } })
    await vi.advanceTimersByTimeAsync(minuteMs)
    void call()
    expect(runs).toBe(2)
    finish()
  })

  it('is not kept waiting by an older call that still runs: its own time is over (R34)', async () => {
    let runs = 0
    open(async ({ body }) => {
      runs += 1
      if (body === 'slow') await new Promise(() => {})
    })
    void rpc.call(ann, { id: 'slow'.repeat(6), method: 'method', params: 'slow' })
    await call()
    await vi.advanceTimersByTimeAsync(3 * minuteMs)
    await call()
    expect(runs).toBe(3)
  })
})

describe('countless calls', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'performance'] }))
  afterEach(() => void vi.useRealTimers())

  it('fill no more than the bound, run once each, and are taken again when the first are forgotten (R34, D8)', async () => {
    let runs = 0
    open(() => {
      runs += 1
      return null
    })
    const numbered = (n: number): ReturnType<RpcRegistry['call']> =>
      rpc.call(ann, { id: String(n).padStart(128, '0'), method: 'method', params: n })
    let taken = 0
    let refused: string | undefined
    for (; taken < 200_000 && refused === undefined; taken += refused === undefined ? 1 : 0) {
      const outcome = await numbered(taken)
      if ('error' in outcome) refused = outcome.error.code
    }
    expect(refused).toBe('overloaded')
    expect(taken).toBeGreaterThan(10_000)
    expect(taken).toBeLessThan(200_000)
    // Calls that ran are still known: they do not run again.
    await numbered(0)
    await numbered(taken - 1)
    expect(runs).toBe(taken)
    vi.advanceTimersByTime(3 * minuteMs)
    expect(await numbered(taken)).toEqual({ result: null })
  })
})

describe('an anonymous call', () => {
  it('runs once although a cookie has changed between two tries (R34)', async () => {
    let runs = 0
    open(() => (runs += 1))
    const outcomes = [await call(identityOf(null, { cookie: '_ga=1' }, [])), await call(identityOf(null, {}, []))]
    expect(outcomes).toEqual([{ result: 1 }, { result: 1 }])
  })

  it('never meets the call of a principal (R34)', async () => {
    let runs = 0
    open(() => (runs += 1))
    const outcomes = [await call(identityOf(null, {}, [])), await call(), await call(identityOf({ id: 'bob' }, {}, []))]
    expect(outcomes).toEqual([{ result: 1 }, { result: 2 }, { result: 3 }])
  })
})
