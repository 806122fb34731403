import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { ReloadAfter } from '../src/topics/reload-after.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

it('a load after a change waits for the last change', () => {
  const loads: number[] = []
  const reload = new ReloadAfter([500, 2000], () => loads.push(performance.now()))
  const begin = performance.now()
  reload.changed()
  vi.advanceTimersByTime(400)
  reload.changed()
  vi.advanceTimersByTime(10_000)
  expect(loads.map((at) => at - begin)).toEqual([900, 2400])
})

it('a topic that is closed loads no more, even when its last value is stored after that', () => {
  let loads = 0
  const reload = new ReloadAfter([500], () => (loads += 1))
  reload.stop()
  reload.changed()
  vi.advanceTimersByTime(10_000)
  expect(loads).toBe(0)
})
