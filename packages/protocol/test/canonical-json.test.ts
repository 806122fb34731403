import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson } from '@crossfade/protocol'
import { codeOf } from './code-of.ts'

describe('canonical JSON', () => {
  test('writes the example of RFC 8785 §3.2.2', () => {
    const value: unknown = JSON.parse(String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`)
    expect(canonicalJson(value)).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    )
  })

  test('sorts names by UTF-16 code units, as in RFC 8785 §3.2.3', () => {
    const value = {
      '\u20ac': 'Euro Sign',
      '\r': 'Carriage Return',
      '\ufb33': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\ud83d\ude00': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      '\u00f6': 'Latin Small Letter O With Diaeresis',
    }
    expect(canonicalJson(value)).toBe(
      '{"\\r":"Carriage Return","1":"One","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis","\u20ac":"Euro Sign",' +
        '"\ud83d\ude00":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}',
    )
  })

  test('keeps integer-like names in their sorted place', () => {
    expect(canonicalJson({ b: 1, 10: 2, 9: 3, '!': 4 })).toBe('{"!":4,"10":2,"9":3,"b":1}')
  })

  test.each([
    [0, '0'],
    [-0, '0'],
    [5e-324, '5e-324'],
    [-1.7976931348623157e308, '-1.7976931348623157e+308'],
    [9_007_199_254_740_992, '9007199254740992'],
    [295_147_905_179_352_830_000, '295147905179352830000'],
    [1e21, '1e+21'],
    [9.999999999999997e22, '9.999999999999997e+22'],
    [1e-7, '1e-7'],
    [0.000001, '0.000001'],
  ])('writes the number %d as RFC 8785 appendix B does', (value, text) => {
    expect(canonicalJson(value)).toBe(text)
  })

  test('reads back as what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        const text = canonicalJson(value)
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
        expect(canonicalJson(JSON.parse(text))).toBe(text)
      }),
    )
  })

  test('leaves out what is undefined and calls toJSON, as JSON.stringify does', () => {
    const at = new Date('2026-01-02T03:04:05.678Z')
    expect(canonicalJson({ at, gone: undefined, list: [undefined, 1] })).toBe(
      '{"at":"2026-01-02T03:04:05.678Z","list":[null,1]}',
    )
  })

  test('writes half a surrogate pair in one way and does not fail', () => {
    expect(canonicalJson('\ud800x')).toBe(String.raw`"\ud800x"`)
    expect(canonicalJson({ '\udc00': '\ude00\ud83d' })).toBe(String.raw`{"\udc00":"\ude00\ud83d"}`)
  })

  test('takes a member named __proto__ for a member', () => {
    expect(canonicalJson(JSON.parse('{"b":1,"__proto__":{"a":2}}'))).toBe('{"__proto__":{"a":2},"b":1}')
  })

  test.each([
    ['undefined', undefined],
    ['a function', () => 1],
    ['a function inside', { f: () => 1 }],
    ['a symbol', Symbol('s')],
    ['a BigInt', { n: 1n }],
    ['NaN', [Number.NaN]],
    ['an infinity', [Number.NEGATIVE_INFINITY]],
  ])('refuses %s as malformed', (_, value) => {
    expect(codeOf(() => canonicalJson(value))).toBe('malformed')
  })

  test('refuses a value that contains itself, and one too deep for the stack', () => {
    const loop: { self?: unknown } = {}
    loop.self = [loop, loop]
    expect(codeOf(() => canonicalJson(loop))).toBe('malformed')
    const deep: unknown = JSON.parse('['.repeat(100_000) + ']'.repeat(100_000))
    expect(codeOf(() => canonicalJson(deep))).toBe('malformed')
    const toItself = { toJSON: (): unknown => toItself }
    expect(codeOf(() => canonicalJson(toItself))).toBe('malformed')
  })

  test('takes 1,000 levels', () => {
    const text = '['.repeat(1000) + ']'.repeat(1000)
    expect(canonicalJson(JSON.parse(text))).toBe(text)
  })
})
