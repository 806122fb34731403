import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatCursor, isUpTo, newEpoch, parseCursor } from '@crossfade/protocol'
import { codeOf } from './code-of.ts'

const letters = 'abcdefghijklmnopqrstuvwxyz0123456789'.split('')
const epochs = fc
  .array(fc.constantFrom(...letters), { minLength: 12, maxLength: 12 })
  .map((characters) => characters.join(''))
const offsets = fc.nat({ max: 999_999_999_999 })

describe('a cursor', () => {
  test('is the epoch and 12 digits of offset', () => {
    expect(formatCursor('k3v9q2m1x8ab', 41)).toBe('k3v9q2m1x8ab_000000000041')
    expect(parseCursor('k3v9q2m1x8ab_000000000041')).toEqual({ epoch: 'k3v9q2m1x8ab', offset: 41 })
  })

  test('says the same after a round trip', () => {
    fc.assert(
      fc.property(epochs, offsets, (epoch, offset) => {
        expect(parseCursor(formatCursor(epoch, offset))).toEqual({ epoch, offset })
      }),
    )
  })

  test('is up to another one of its epoch when it is not greater, and up to none of another', () => {
    fc.assert(
      fc.property(epochs, epochs, offsets, offsets, (epoch, other, a, b) => {
        expect(isUpTo(formatCursor(epoch, a), formatCursor(epoch, b))).toBe(a <= b)
        expect(isUpTo(formatCursor(epoch, a), formatCursor(other, b))).toBe(epoch === other && a <= b)
      }),
    )
  })

  test('sorts as text as it does by offset', () => {
    fc.assert(
      fc.property(epochs, offsets, offsets, (epoch, a, b) => {
        expect(formatCursor(epoch, a) < formatCursor(epoch, b)).toBe(a < b)
      }),
    )
  })

  test.each([
    '',
    'k3v9q2m1x8ab',
    'k3v9q2m1x8ab_41',
    'k3v9q2m1x8ab_0000000000411',
    'k3v9q2m1x8ab_00000000004x',
    'K3V9Q2M1X8AB_000000000041',
    'k3v9q2m1x8ab-000000000041',
    ' k3v9q2m1x8ab_000000000041',
    'k3v9q2m1x8ab_000000000041\n',
    'k3v9q2m1x8ab_00000000004١',
  ])('is not %j: invalid_cursor (R4)', (text) => {
    expect(codeOf(() => parseCursor(text))).toBe('invalid_cursor')
  })

  test.each([undefined, null, 41, {}, ['k3v9q2m1x8ab_000000000041']])('is text, not %j (R4)', (value) => {
    expect(codeOf(() => parseCursor(value as string))).toBe('invalid_cursor')
  })

  test.each([-1, 1.5, 1_000_000_000_000, Number.NaN, Number.POSITIVE_INFINITY])('has no offset %d', (offset) => {
    expect(codeOf(() => formatCursor('k3v9q2m1x8ab', offset))).toBe('invalid_cursor')
  })

  test.each(['', 'short', 'K3V9Q2M1X8AB', 'k3v9q2m1x8a_', 'k3v9q2m1x8ab\n'])('has no epoch %j', (epoch) => {
    expect(codeOf(() => formatCursor(epoch, 1))).toBe('invalid_cursor')
  })
})

describe('a new epoch', () => {
  test('is 12 letters and digits, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 24, maxLength: 24 }), (bytes) => {
        const epoch = newEpoch(() => bytes.shift() as number)
        expect(parseCursor(formatCursor(epoch, 0)).epoch).toBe(epoch)
      }),
    )
  })

  test('is another one each time', () => {
    const epochsMade = new Set(Array.from({ length: 1000 }, () => newEpoch()))
    expect(epochsMade.size).toBe(1000)
  })
})
