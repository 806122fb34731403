import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bucketOf, murmur3, stageFor, type Rollout } from '@crossfade/protocol'

describe('the bucket of a client', () => {
  test('is MurmurHash3 of feature and id, modulo 100 (R60)', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (feature, id) => {
        expect(bucketOf(feature, id)).toBe(murmur3(new TextEncoder().encode(`${feature}:${id}`), 0) % 100)
      }),
    )
  })

  test('is that of the document (R60)', () => {
    expect(bucketOf('order-page', 'user-1')).toBe(4)
  })

  test('spreads clients evenly, and differently for each feature', () => {
    const ids = Array.from({ length: 10_000 }, (_, index) => `user-${index}`)
    const inTen = (feature: string): Set<string> => new Set(ids.filter((id) => bucketOf(feature, id) < 10))
    const first = inTen('order-page')
    const second = inTen('chat')
    expect(first.size).toBeGreaterThan(850)
    expect(first.size).toBeLessThan(1150)
    expect([...first].filter((id) => second.has(id)).length).toBeLessThan(200)
  })
})

describe('the stage of a client', () => {
  const rollout: Rollout = { stage: 'push', percent: 25, rest: 'hint' }

  test('is that of the rollout below the percentage, and the rest above (R60)', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 0, max: 100 }), (id, percent) => {
        const expected = bucketOf('order-page', id) < percent ? 'push' : 'hint'
        expect(stageFor({ ...rollout, percent }, 'order-page', id)).toBe(expected)
      }),
    )
  })

  test('changes for a client exactly when the percentage passes its bucket (R60)', () => {
    for (let index = 0; index < 500; index += 1) {
      const id = `user-${index}`
      const percent = bucketOf('order-page', id)
      expect(stageFor({ ...rollout, percent }, 'order-page', id)).toBe('hint')
      expect(stageFor({ ...rollout, percent: percent + 1 }, 'order-page', id)).toBe('push')
    }
  })

  test('is the same for all at 0 and at 100', () => {
    fc.assert(
      fc.property(fc.string(), (id) => {
        expect(stageFor({ ...rollout, percent: 0 }, 'x', id)).toBe('hint')
        expect(stageFor({ ...rollout, percent: 100 }, 'x', id)).toBe('push')
      }),
    )
  })

  test('is not taken back by a greater percentage', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat({ max: 99 }), (id, percent) => {
        const before = stageFor({ ...rollout, percent }, 'x', id)
        const after = stageFor({ ...rollout, percent: percent + 1 }, 'x', id)
        expect(before === 'push' && after !== 'push').toBe(false)
      }),
    )
  })
})
