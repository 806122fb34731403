import { applyPatch, hashValue, type PatchOperation } from '@crossfade/protocol'
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { difference } from '../src/topics/difference.ts'

const library = vi.hoisted(() => ({ spoil: false }))
vi.mock('jsondiffpatch/formatters/jsonpatch', async (load) => {
  const real = await load<typeof import('jsondiffpatch/formatters/jsonpatch')>()
  const format: typeof real.format = (delta) => (library.spoil ? real.format(delta).slice(1) : real.format(delta))
  return { ...real, format }
})

function of(value: unknown): { text: string; value: unknown; hash: string } {
  return { text: JSON.stringify(value), value, hash: hashValue(value) }
}

/** Objects like those of endpoints: lists of things with ids among other values. */
const thing = fc.record({
  id: fc.nat(6),
  name: fc.string({ maxLength: 12 }),
  tags: fc.array(fc.nat(3), { maxLength: 4 }),
})
const answer = fc.oneof(
  fc.jsonValue(),
  fc.record({ things: fc.array(thing, { maxLength: 8 }), total: fc.nat(), note: fc.string({ maxLength: 40 }) }),
)

describe('the patch between two values', () => {
  it('leads from one to the other, whatever they are (R6)', () => {
    fc.assert(
      fc.property(answer, answer, (before, after) => {
        const [from, to] = [JSON.parse(JSON.stringify(before)), JSON.parse(JSON.stringify(after))] as [unknown, unknown]
        const patch = difference(JSON.stringify(from), of(to))
        const result = patch === null ? to : applyPatch(from, JSON.parse(patch) as PatchOperation[])
        expect(hashValue(result)).toBe(hashValue(to))
      }),
      { numRuns: 500, seed: 11 },
    )
  })

  it('is not sent when the names of members are those of every object', () => {
    for (const name of ['toString', 'valueOf', 'constructor', 'hasOwnProperty', '__proto__']) {
      const named = JSON.parse(`{"${name}":{"a":1},"pad":"${'x'.repeat(100)}"}`) as unknown
      const without = { pad: 'x'.repeat(100) }
      for (const [from, to] of [
        [named, without],
        [without, named],
      ] as const) {
        const patch = difference(JSON.stringify(from), of(to))
        const result = patch === null ? to : applyPatch(from, JSON.parse(patch) as PatchOperation[])
        expect([name, hashValue(result)]).toEqual([name, hashValue(to)])
      }
    }
  })

  it('is not sent when it is longer than the value, or the values are long', () => {
    expect(difference('1', of(2))).toBeNull()
    const long = 'x'.repeat(200_000)
    expect(difference(JSON.stringify({ long, n: 1 }), of({ long, n: 2 }))).toBeNull()
    expect(difference(JSON.stringify({ n: 1, pad: 'x'.repeat(100) }), of({ n: 2, pad: 'x'.repeat(100) }))).toBe(
      '[{"op":"replace","path":"/n","value":2}]',
    )
  })

  describe('of two lists whose elements are all compared with each other', () => {
    const pad = 'x'.repeat(20_000)
    const numbers = (length: number, first: number): number[] => Array.from({ length }, (_, n) => first + n)
    const rows = (length: number, first: number): object[] => numbers(length, first).map((id) => ({ id }))
    const sentOf = (before: unknown, after: unknown): string | null => difference(JSON.stringify(before), of(after))

    it('is sent where the lists are short, or the same at their ends', () => {
      expect(sentOf({ list: [1, 2, 3], pad }, { list: [2, 9, 3], pad })).not.toBeNull()
      expect(sentOf({ list: rows(300, 0), pad }, { list: rows(300, 1), pad })).toBe(
        '[{"op":"remove","path":"/list/0"},{"op":"add","path":"/list/299","value":{"id":300}}]',
      )
      const long = numbers(20_000, 0)
      expect(sentOf(long, long.with(10_000, -1))).not.toBeNull()
      expect(sentOf(long, [...long, 7])).toBe('[{"op":"add","path":"/20000","value":7}]')
      expect(sentOf(rows(3_000, 0), rows(2_999, 1))).toBe('[{"op":"remove","path":"/0"}]')
    })

    it('is not sent where they are long, whatever they hold: the value is', () => {
      expect(sentOf({ list: numbers(1_000, 0), pad }, { list: numbers(1_000, 1), pad })).toBeNull()
      expect(sentOf({ list: rows(1_000, 0), pad }, { list: rows(1_000, 1), pad })).toBeNull()
      const things = (first: number): object => ({ a: [{ id: 1, list: numbers(1_000, first) }], pad })
      expect(sentOf(things(0), things(1))).toBeNull()
    })

    it('is not sent where they are many, and long together', () => {
      const lists = (first: number, count: number): object => ({
        lists: Array.from({ length: count }, (_, n) => ({ id: n, list: rows(100, first) })),
        pad,
      })
      expect(sentOf(lists(0, 5), lists(1, 5))).not.toBeNull()
      expect(sentOf(lists(0, 40), lists(1, 40))).toBeNull()
    })
  })

  it('is never sent when it is wrong: the value is sent instead', () => {
    const [before, after] = [
      { n: 1, m: 1, pad: 'x'.repeat(200) },
      { n: 2, m: 2, pad: 'x'.repeat(200) },
    ]
    expect(difference(JSON.stringify(before), of(after))).not.toBeNull()
    library.spoil = true
    expect(difference(JSON.stringify(before), of(after))).toBeNull()
    library.spoil = false
  })
})
