import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { backoffMs, spreadMs } from '../src/backoff.ts'

describe('backoff', () => {
  it('jitters fully after the cap (R40)', () => {
    expect([0, 1, 5, 6, 60].map((attempt) => backoffMs(attempt, () => 0))).toEqual([250, 250, 250, 250, 250])
    expect([0, 1, 5, 6, 60].map((attempt) => backoffMs(attempt, () => 1))).toEqual([750, 1250, 16_250, 20_250, 20_250])
  })

  it('comes back no sooner than the server asked, and never at twice a second or more (R40, F7)', () => {
    fc.assert(
      fc.property(fc.nat(100_000), fc.double({ min: 0, max: 0.999, noNaN: true }), (retryMs, random) => {
        const ms = spreadMs(retryMs, () => random)
        expect(ms).toBeGreaterThanOrEqual(Math.max(500, retryMs))
        expect(ms).toBeLessThanOrEqual(Math.max(500, retryMs) * 1.5)
      }),
    )
  })
})
