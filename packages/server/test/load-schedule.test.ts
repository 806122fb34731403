import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LoadSchedule, type LoadScheduleOptions } from '../src/topics/load-schedule.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** Loads that end when the test says so. */
class Loads {
  readonly started: number[] = []
  readonly #ends: { resolve: () => void; reject: (error: Error) => void }[] = []
  running = 0
  most = 0

  readonly load = (): Promise<void> => {
    this.started.push(performance.now())
    this.running += 1
    this.most = Math.max(this.most, this.running)
    return new Promise<void>((resolve, reject) => this.#ends.push({ resolve, reject })).finally(
      () => (this.running -= 1),
    )
  }

  async end(error?: Error): Promise<void> {
    const end = this.#ends.shift()
    if (!end) throw new Error('no load is running')
    if (error) end.reject(error)
    else end.resolve()
    await vi.advanceTimersByTimeAsync(0)
  }
}

function schedule(options: Partial<LoadScheduleOptions> = {}): {
  loads: Loads
  schedule: LoadSchedule
  use: { needed: boolean }
} {
  const loads = new Loads()
  const use = { needed: true }
  return {
    loads,
    use,
    schedule: new LoadSchedule({
      minIntervalMs: 0,
      refreshMs: null,
      load: loads.load,
      needed: () => use.needed,
      retryAfterMs: () => 0,
      ...options,
    }),
  }
}

describe('the load schedule', () => {
  it('runs one load at a time, and one more for everything that was requested meanwhile', async () => {
    const { loads, schedule: plan } = schedule()
    plan.want()
    for (let n = 0; n < 10; n++) plan.want()
    expect(loads.started.length).toBe(1)
    await loads.end()
    expect(loads.started.length).toBe(2)
    expect(plan.settled).toBe(false)
    await loads.end()
    expect({ started: loads.started.length, most: loads.most, settled: plan.settled }).toEqual({
      started: 2,
      most: 1,
      settled: true,
    })
  })

  it('satisfies nobody by a load that began before they asked', async () => {
    const { loads, schedule: plan } = schedule()
    const order: string[] = []
    void plan.next().then(() => order.push('first'))
    void plan.next().then(() => order.push('second'))
    await loads.end()
    expect(order).toEqual(['first'])
    await loads.end()
    expect(order).toEqual(['first', 'second'])
  })

  it('starts loads at least the interval apart, and the last change is not missed', async () => {
    const { loads, schedule: plan } = schedule({ minIntervalMs: 100 })
    plan.want()
    await loads.end()
    plan.want()
    plan.want()
    expect(loads.started.length).toBe(1)
    await vi.advanceTimersByTimeAsync(99)
    expect(loads.started.length).toBe(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(loads.started.length).toBe(2)
    await loads.end()
    expect(plan.settled).toBe(true)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(loads.started.length).toBe(2)
  })

  it('respects the Retry-After of a failure, also for new requests (D12)', async () => {
    const { loads, schedule: plan } = schedule({ retryAfterMs: () => 30_000 })
    plan.want()
    await loads.end(new Error('busy'))
    await expect(plan.next()).rejects.toThrow('busy')
    await vi.advanceTimersByTimeAsync(29_999)
    expect(loads.started.length).toBe(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(loads.started.length).toBe(2)
    await loads.end()
    expect(plan.settled).toBe(true)
  })

  it('does not keep requests waiting that came while a load ran which then failed with Retry-After (D12)', async () => {
    const { loads, schedule: plan } = schedule({ retryAfterMs: () => 600_000 })
    plan.want()
    const asked = plan.next().catch((error: Error) => error.message)
    const caughtUp = plan.caughtUp()
    await loads.end(new Error('busy'))
    expect(await asked).toBe('busy')
    await caughtUp
    expect(loads.started.length).toBe(1)
  })

  it('retries a failed load with backoff while it is needed, and is not settled until one succeeds (D12)', async () => {
    const { loads, schedule: plan } = schedule()
    plan.want()
    for (let failure = 1; failure <= 8; failure++) {
      await loads.end(new Error('down'))
      expect(plan.settled).toBe(false)
      const capMs = Math.min(10_000, 250 * 2 ** failure)
      await vi.advanceTimersByTimeAsync(capMs)
      expect(loads.started.length).toBe(failure + 1)
    }
    await loads.end()
    expect(plan.settled).toBe(true)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(loads.started.length).toBe(9)
  })

  it('does not retry without subscribers, and loads what was missed when one comes', async () => {
    const { loads, schedule: plan, use } = schedule()
    plan.want()
    use.needed = false
    await loads.end(new Error('down'))
    await vi.advanceTimersByTimeAsync(60_000)
    expect(loads.started.length).toBe(1)
    use.needed = true
    plan.resume()
    await vi.advanceTimersByTimeAsync(500)
    expect(loads.started.length).toBe(2)
    await loads.end()
    expect(plan.settled).toBe(true)
  })

  it('tells a failure to those who wait for that load, and to nobody else', async () => {
    const { loads, schedule: plan } = schedule()
    const first = plan.next()
    const second = plan.next()
    const refusal = first.catch((error: unknown) => error)
    await loads.end(new Error('down'))
    expect(await refusal).toMatchObject({ message: 'down' })
    await loads.end()
    await expect(second).resolves.toBeUndefined()
  })

  it('does not let a new request wait for the backoff of earlier failures (D12)', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(1)
    const { loads, schedule: plan } = schedule()
    plan.want()
    await loads.end(new Error('down'))
    expect(loads.started.length).toBe(1)
    const next = plan.next()
    await vi.advanceTimersByTimeAsync(0)
    expect(loads.started.length).toBe(2)
    await loads.end()
    await expect(next).resolves.toBeUndefined()
  })

  it('keeps the interval for a new request, too', async () => {
    const { loads, schedule: plan } = schedule({ minIntervalMs: 100 })
    plan.want()
    await loads.end()
    void plan.next()
    await vi.advanceTimersByTimeAsync(99)
    expect(loads.started.length).toBe(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(loads.started.length).toBe(2)
  })

  it('refreshes while there are subscribers, and knows when the value is overdue', async () => {
    const { loads, schedule: plan } = schedule({ refreshMs: 1_000 })
    plan.want()
    await loads.end()
    plan.resume()
    plan.resume()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(loads.started.length).toBe(2)
    await loads.end()
    plan.pause()
    await vi.advanceTimersByTimeAsync(5_000)
    expect({ started: loads.started.length, overdue: plan.overdue }).toEqual({ started: 2, overdue: true })
  })

  it('releases everybody who waits when it stops, and runs nothing more', async () => {
    const { loads, schedule: plan } = schedule({ minIntervalMs: 1_000 })
    plan.want()
    await loads.end()
    const waiting = plan.next()
    const refusal = waiting.catch((error: unknown) => error)
    plan.stop()
    expect(await refusal).toMatchObject({ code: 'server_error' })
    plan.want()
    await expect(plan.next()).rejects.toMatchObject({ code: 'server_error' })
    await vi.advanceTimersByTimeAsync(60_000)
    expect(loads.started.length).toBe(1)
  })
})
