import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson, hashValue, murmur3 } from '@crossfade/protocol'

const hex = (hash: number): string => hash.toString(16).padStart(8, '0')
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('MurmurHash3 x86 32', () => {
  test.each([
    ['', 0, 0],
    ['', 1, 0x514e28b7],
    ['', 0xffffffff, 0x81f16f39],
    ['ffffffff', 0, 0x76293b50],
    ['21436587', 0, 0xf55b516b],
    ['21436587', 0x5082edee, 0x2362f9de],
    ['214365', 0, 0x7e4a8634],
    ['2143', 0, 0xa0f7b07a],
    ['21', 0, 0x72661cf4],
    ['00000000', 0, 0x2362f9de],
    ['000000', 0, 0x85f0b427],
    ['0000', 0, 0x30f4c306],
    ['00', 0, 0x514e28b7],
  ])('of the bytes %j with seed %i is the published one', (hex, seed, hash) => {
    const bytes = Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))
    expect(murmur3(bytes, seed)).toBe(hash)
  })

  test('of texts is the published one', () => {
    expect(murmur3(utf8('test'), 0)).toBe(0xba6bd213)
    expect(murmur3(utf8('Hello, world!'), 1234)).toBe(0xfaf6cdb3)
    expect(murmur3(utf8('The quick brown fox jumps over the lazy dog'), 0x9747b28c)).toBe(0x2fa826cd)
  })
})

/** The rows of the document's table: JSON, canonical form, hash. */
const vectors = [
  ...readFileSync(new URL('../../../PROTOCOL.md', import.meta.url), 'utf8').matchAll(
    /^\| `(.+)` +\| `(.+)` +\| `([0-9a-f]{16})` +\|$/gm,
  ),
].map(([, json, canonical, hash]) => [json, canonical, hash] as [string, string, string])

describe('the hash of a value', () => {
  test('is that of the contract', () => {
    expect(hashValue('hello')).toBe('27ace383f11f813b')
  })

  test.each(vectors)('of %s is that of the document: canonical %s, hash %s', (json, canonical, hash) => {
    const value = JSON.parse(json) as unknown
    expect([canonicalJson(value), hashValue(value)]).toEqual([canonical, hash])
  })

  test('has its examples in the document', () => {
    expect(vectors.length).toBeGreaterThan(10)
  })

  test('is the hash with seed 0, then with seed 1, of the canonical UTF-8', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        const bytes = utf8(canonicalJson(value))
        expect(hashValue(value)).toBe(hex(murmur3(bytes, 0)) + hex(murmur3(bytes, 1)))
      }),
    )
  })

  test('does not depend on the order of members (R8)', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(hashValue(reversed(value))).toBe(hashValue(value))
      }),
    )
  })

  test('survives a trip as JSON (R8)', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        expect(hashValue(JSON.parse(JSON.stringify(value)))).toBe(hashValue(value))
      }),
    )
  })

  test('of a large value is of all of it, and does not disturb the next', () => {
    const large = '€'.repeat(500_000)
    expect(hashValue(large)).toBe(hex(murmur3(utf8(`"${large}"`), 0)) + hex(murmur3(utf8(`"${large}"`), 1)))
    expect(hashValue('hello')).toBe('27ace383f11f813b')
  })

  test.each([
    [
      [1, 2],
      [2, 1],
    ],
    [{ a: 1 }, { a: 2 }],
    [{ a: null }, {}],
    ['1', 1],
    [[[]], []],
  ])('tells %j from %j', (a, b) => {
    expect(hashValue(a)).not.toBe(hashValue(b))
  })
})

/** The same value with the members of every object in the opposite order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([name, member]) => [name, reversed(member)]),
  )
}
