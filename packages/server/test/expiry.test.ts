import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { expireWith } from '../src/connections/expiry.ts'
import { identityOf } from '../src/identity/principal.ts'

const dayMs = 86_400_000

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Credentials that live for this long, and what happened to their connection. */
function expiring(lifeMs: number, graceMs: number): { happened: string[]; cancel: () => void } {
  const happened: string[] = []
  const identity = identityOf({ id: 'ann', expiresAt: Date.now() + lifeMs }, {}, [], null)
  const outlet = {
    paged: false,
    send: (message: object) => happened.push((message as { code: string }).code),
    deliver: () => {},
    congested: () => false,
    waitForCapacity: async () => true,
  }
  return { happened, cancel: expireWith(identity, graceMs, outlet, () => happened.push('expired')) }
}

describe('credentials', () => {
  it.each([1, 24, 25, 60, 400])('that live for %i days do not expire sooner (R53)', (days) => {
    const { happened } = expiring(days * dayMs, 25_000)
    vi.advanceTimersByTime(days * dayMs - 25_001)
    expect(happened).toEqual([])
    vi.advanceTimersByTime(1)
    expect(happened).toEqual(['token_expiring'])
    vi.advanceTimersByTime(49_999)
    expect(happened).toEqual(['token_expiring'])
    vi.advanceTimersByTime(1)
    expect(happened).toEqual(['token_expiring', 'expired'])
  })

  it('that were renewed do not expire, however often the timer was set again (R53)', () => {
    const { happened, cancel } = expiring(100 * dayMs, 25_000)
    vi.advanceTimersByTime(60 * dayMs)
    cancel()
    vi.advanceTimersByTime(100 * dayMs)
    expect(happened).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })
})
