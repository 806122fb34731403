import { defaultLimits } from '@crossfade/protocol'
import { beforeEach, describe, expect, it } from 'vitest'
import { environmentOf } from '../src/environment.ts'
import { defaultTiming } from '../src/timing.ts'
import { Liveness } from '../src/transports/liveness.ts'
import type { TransportPort } from '../src/transports/transport.ts'
import { ManualClock } from './manual-clock.ts'

let clock: ManualClock
let deaths: string[] = []
let liveness: Liveness

function beat(delayMs = 0): void {
  liveness.heard({ type: 'heartbeat', at: clock.now() - delayMs, n: 0 })
}

beforeEach(() => {
  clock = new ManualClock()
  deaths = []
  const { now, setTimeout, clearTimeout } = clock
  const port = { environment: environmentOf({ now, setTimeout, clearTimeout }), timing: defaultTiming }
  liveness = new Liveness(port as TransportPort, (reason) => {
    deaths.push(reason)
    liveness.stop()
  })
})

describe('liveness', () => {
  it('gives up what is not proved in time, whatever was heard (F2, F4)', async () => {
    await clock.advance(3_000)
    beat()
    await clock.advance(2_000)
    expect(deaths).toEqual(['silence'])
  })

  it('gives up after two and a half silent intervals (PROTOCOL §8)', async () => {
    liveness.follow(10_000)
    liveness.prove()
    await clock.advance(24_000)
    beat()
    await clock.advance(25_000)
    expect(deaths).toEqual([])
    await clock.advance(1_000)
    expect(deaths).toEqual(['silence'])
  })

  it('goes by the default interval until it is told another (PROTOCOL §8)', async () => {
    const { heartbeatMs, heartbeatTolerance } = defaultLimits
    liveness.prove()
    await clock.advance(heartbeatMs * heartbeatTolerance)
    expect(deaths).toEqual([])
    await clock.advance(1)
    expect(deaths).toEqual(['silence'])
  })

  it('lets what waited in the socket speak first after sleep (F21)', async () => {
    liveness.prove()
    clock.sleep(3_600_000)
    await clock.advance(0)
    beat(3_600_000)
    beat()
    await clock.advance(30_000)
    expect(deaths).toEqual([])
  })

  it('finds a connection that died in sleep soon after', async () => {
    liveness.prove()
    clock.sleep(3_600_000)
    await clock.advance(2_100)
    expect(deaths).toEqual(['silence'])
  })

  it('expects an answer to a test soon', async () => {
    liveness.prove()
    liveness.test()
    await clock.advance(4_100)
    expect(deaths).toEqual(['silence'])
  })

  it('notices heartbeats that come ever later (F6b)', async () => {
    liveness.prove()
    beat(20)
    await clock.advance(15_000)
    beat(9_000)
    expect(deaths).toEqual([])
    await clock.advance(15_000)
    beat(9_000)
    expect(deaths).toEqual(['lag'])
  })

  it('takes a server clock that is wrong for no lag (D11)', async () => {
    liveness.prove()
    for (let count = 0; count < 5; count++) {
      beat(3_600_000)
      await clock.advance(15_000)
    }
    expect(deaths).toEqual([])
  })
})
