import { describe, expect, it } from 'vitest'
import { HoldMemory } from '../src/transports/hold-memory.ts'

describe('how long polls are held (F18)', () => {
  it('is what was asked for where nothing cuts', () => {
    expect(new HoldMemory(25_000).ms(0)).toBe(25_000)
  })

  it('is less than what a gateway cut, from the first time', () => {
    const hold = new HoldMemory(25_000)
    hold.cut(10_000, 0)
    expect(hold.ms(1)).toBe(8_000)
  })

  it('is not learnt from one broken connection: that may be a restart (F9)', () => {
    const hold = new HoldMemory(25_000)
    hold.broke(10_000, 0)
    hold.broke(3_000, 10_000)
    expect(hold.ms(10_000)).toBe(25_000)
  })

  it('is learnt from two that broke after the same time', () => {
    const hold = new HoldMemory(25_000)
    hold.broke(10_000, 0)
    hold.broke(10_200, 20_000)
    expect(hold.ms(20_000)).toBe(8_000)
  })

  it('is never under a second, and forgotten after ten minutes', () => {
    const hold = new HoldMemory(25_000)
    hold.cut(1_100, 0)
    expect(hold.ms(599_999)).toBe(1_000)
    expect(hold.ms(600_000)).toBe(25_000)
  })
})
