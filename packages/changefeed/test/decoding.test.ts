import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseArray } from '../src/postgres-replication/array-text.ts'
import { parseLsn, positionOf } from '../src/postgres-replication/lsn.ts'
import { isVisible, parseSnapshot } from '../src/postgres-replication/snapshot.ts'
import { codeOf } from './code-of.ts'

type Nested = (string | null)[] | Nested[]

/** Writes an array as PostgreSQL does, with every element in quotes. */
function format(value: Nested | string | null): string {
  if (value === null) return 'NULL'
  if (Array.isArray(value)) return `{${value.map(format).join(',')}}`
  return `"${value.replaceAll(/["\\]/g, String.raw`\$&`)}"`
}

describe('the reader of arrays', () => {
  const read = (text: string): unknown => parseArray(text, (element) => element)

  it('reads what PostgreSQL writes', () => {
    expect(read('{}')).toEqual([])
    expect(read('{1,NULL,"NULL","a,b","c\\"d","",x y}')).toEqual(['1', null, 'NULL', 'a,b', 'c"d', '', 'x y'])
    expect(read('[2:3]={{1,2},{3,4}}')).toEqual([
      ['1', '2'],
      ['3', '4'],
    ])
  })

  it('gives back any array', () => {
    const element = fc.option(fc.string({ unit: 'grapheme' }))
    const value = fc.oneof(fc.array(element), fc.array(fc.array(element, { minLength: 1 })))
    fc.assert(
      fc.property(value, (array) => {
        expect(read(format(array as Nested))).toEqual(array)
      }),
    )
  })

  it('rejects noise with its own error', () => {
    const noise = fc.string({ unit: fc.constantFrom('{', '}', ',', '"', '\\', 'a', '[', '=') })
    fc.assert(
      fc.property(noise, (text) => {
        expect([null, 'malformed']).toContain(codeOf(() => read(text)))
      }),
    )
  })
})

describe('a position', () => {
  it('compares as a string as its LSN does as a number', () => {
    const lsn = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
    fc.assert(
      fc.property(lsn, lsn, (a, b) => {
        expect(positionOf(a) < positionOf(b)).toBe(a < b)
      }),
    )
    expect(parseLsn('16/B374D848')).toBe(0x16b374d848n)
    expect(positionOf(parseLsn('16/B374D848'))).toBe('00000016b374d848')
  })
})

describe('visibility in a snapshot', () => {
  it('is that of PostgreSQL: finished before its end, and not in progress', () => {
    const snapshot = parseSnapshot('100:105:100,103')
    expect([99, 100, 101, 102, 103, 104, 105, 106].map((xid) => isVisible(xid, snapshot))).toEqual([
      true,
      false,
      true,
      true,
      false,
      true,
      false,
      false,
    ])
  })

  it('completes the 32 bits of the stream on both sides of a wrap', () => {
    const wrap = 3n * 2n ** 32n
    const snapshot = parseSnapshot(`${wrap - 2n}:${wrap + 2n}:${wrap - 1n}`)
    const last = 2 ** 32
    expect([last - 3, last - 2, last - 1, 0, 1, 2].map((xid) => isVisible(xid, snapshot))).toEqual([
      true,
      true,
      false,
      true,
      true,
      false,
    ])
  })
})
