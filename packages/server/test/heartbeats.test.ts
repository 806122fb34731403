import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Heartbeats } from '../src/connections/heartbeats.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

it('every connection is visited once per interval, also when the timer of a busy process comes late (R25)', () => {
  const heartbeats = new Heartbeats(1_000)
  let beats = 0
  heartbeats.add({ lastWriteAt: -Infinity, beat: () => (beats += 1) })
  vi.advanceTimersByTime(1_000)
  expect(beats).toBe(1)
  // The process was busy for a whole interval, and its timer runs once.
  const late = performance.now() + 1_000
  vi.spyOn(performance, 'now').mockReturnValue(late)
  vi.advanceTimersToNextTimer()
  expect(beats).toBe(2)
  heartbeats.close()
})
