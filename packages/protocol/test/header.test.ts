import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatHeader, parseHeader, stages, topicName, type EndpointHeader } from '@crossfade/protocol'
import { codeOf } from './code-of.ts'

const cursor = 'k3v9q2m1x8ab_000000000041'
const full: EndpointHeader = {
  topic: 'orders/42',
  cursor,
  hash: '27ace383f11f813b',
  feature: 'order-page',
  stage: 'push',
  percent: 25,
  rest: 'off',
  base: '/crossfade',
}
const text =
  `topic="orders/42", cursor="${cursor}", hash="27ace383f11f813b", feature="order-page", ` +
  `stage=push, percent=25, rest=off, base="/crossfade"`
const minimal = `topic="orders/42", cursor="${cursor}", stage=push`
const defaults = { topic: 'orders/42', cursor, stage: 'push', percent: 100, rest: 'off', base: '/crossfade' }

describe('the Crossfade header', () => {
  test('is written as the contract shows it (R10)', () => {
    expect(formatHeader(full)).toBe(text)
    expect(formatHeader({ ...full, kind: 'log' })).toBe(`${text}, kind=log`)
    const more = { ...full, version: 1_764_000_000_000, every: 5000, for: 'h4sH' }
    const written = text.replace('base=', 'version=1764000000000, every=5000, base=')
    expect(formatHeader(more)).toBe(`${written}, for="h4sH"`)
  })

  test('is read as the contract shows it (R10)', () => {
    expect(parseHeader(text)).toEqual(full)
    expect(parseHeader(minimal)).toEqual(defaults)
  })

  test('says the same after a round trip (R10)', () => {
    const headers: fc.Arbitrary<EndpointHeader> = fc.record(
      {
        topic: fc.string({ maxLength: 8, unit: 'binary' }).map((value) => topicName('orders', { value })),
        cursor: fc.constant(cursor),
        hash: fc.constantFrom('0123456789abcdef', 'ffffffffffffffff'),
        feature: fc.string({ unit: 'binary' }),
        stage: fc.constantFrom(...stages),
        percent: fc.integer({ min: 0, max: 100 }),
        rest: fc.constantFrom(...stages),
        base: fc.constantFrom('', '/crossfade', '/a/b.c/d_e'),
        kind: fc.constantFrom('value' as const, 'log' as const),
        version: fc.integer({ min: 0, max: 999_999_999_999_999 }),
        every: fc.integer({ min: 1, max: 86_400_000 }),
        for: fc.string({ unit: 'binary' }),
      },
      { requiredKeys: ['topic', 'cursor', 'stage', 'percent', 'rest', 'base'], noNullPrototype: true },
    )
    fc.assert(
      fc.property(headers, (header) => {
        const written = formatHeader(header)
        expect(written).toMatch(/^[\x20-\x7e]*$/)
        expect(parseHeader(written)).toEqual(header)
      }),
    )
  })

  test('carries a topic beyond ASCII as a display string (R1, R10)', () => {
    const header = { ...full, topic: 'räume/7' }
    expect(formatHeader(header)).toContain('topic=%"r%c3%a4ume/7"')
    expect(parseHeader(formatHeader(header))).toEqual(header)
  })

  test('cannot be split into two headers (R10)', () => {
    const written = formatHeader({ ...full, feature: 'a\r\nSet-Cookie: x=1' })
    expect(written).not.toMatch(/[\r\n]/)
    expect(parseHeader(written)?.feature).toBe('a\r\nSet-Cookie: x=1')
    expect(codeOf(() => formatHeader({ ...full, feature: '\ud800' }))).toBe('invalid_options')
  })

  test.each([
    'future',
    'future=1.5',
    'future=:aGk=:',
    'future=@1700000000',
    'future=("a" b;c=1 2);d',
    'future=()',
    'future=?0;x;y="z"',
    'future=-12',
    '*odd.key-1=*/token',
  ])('is read past an unknown member: %s (R10)', (member) => {
    expect(parseHeader(`${member}, ${minimal}`)).toEqual(defaults)
    expect(parseHeader(`${minimal},\t ${member}`)).toEqual(defaults)
  })

  test('takes the last of equal members, and drops parameters', () => {
    expect(parseHeader(`${minimal}, percent=1;why="x", percent=7`)?.percent).toBe(7)
  })

  test.each([
    ['nothing', ''],
    ['no topic', `cursor="${cursor}", stage=push`],
    ['no cursor', 'topic="orders/42", stage=push'],
    ['no stage', `topic="orders/42", cursor="${cursor}"`],
    ['a topic that is none', minimal.replace('orders/42', '../x')],
    ['a cursor that is none', minimal.replace('_', '-')],
    ['a stage that is none', `${minimal}, stage=full`],
    ['a stage as a string', `${minimal}, stage="push"`],
    ['a rest that is none', `${minimal}, rest=1`],
    ['a kind that is none', `${minimal}, kind=stream`],
    ['a hash that is none', `${minimal}, hash="xyz"`],
    ['a percent beyond 100', `${minimal}, percent=101`],
    ['a negative percent', `${minimal}, percent=-1`],
    ['a percent as a string', `${minimal}, percent="5"`],
    ['a negative version', `${minimal}, version=-1`],
    ['a version as a string', `${minimal}, version="1"`],
    ['an interval of 0', `${minimal}, every=0`],
    ['an interval as a decimal', `${minimal}, every=1.5`],
    ['a principal as a token', `${minimal}, for=h4sH`],
    ['a topic as a token', `topic=orders, cursor="${cursor}", stage=push`],
    ['a base of another host', `${minimal}, base="//evil.example"`],
    ['a base with a backslash', String.raw`${minimal}, base="/\\evil.example"`],
    ['a base with a scheme', `${minimal}, base="https://evil.example"`],
    ['a base with a query', `${minimal}, base="/a?b"`],
    ['a comma at the end', `${minimal},`],
    ['a comma in front', `,${minimal}`],
    ['two commas', minimal.replace(',', ',,')],
    ['no comma', minimal.replace(',', '')],
    ['an open string', `${minimal}, feature="x`],
    ['an open list', `${minimal}, x=(1 2`],
    ['a list without spaces', `${minimal}, x=("a""b")`],
    ['a wrong escape', String.raw`${minimal}, feature="\n"`],
    ['a display string that is not UTF-8', `${minimal}, feature=%"%ff"`],
    ['an upper-case key', `${minimal}, Feature="x"`],
    ['an integer too long', `${minimal}, x=1234567890123456`],
    ['a wrong boolean', `${minimal}, x=?2`],
    ['a control character', `${minimal}, feature="\u0001"`],
    ['more than 8 KiB', `${minimal}, feature="${'x'.repeat(8192)}"`],
  ])('is as good as absent with %s (R60)', (_, broken) => {
    expect(parseHeader(broken)).toBeNull()
  })

  test.each([null, undefined, 42 as unknown as string])('is absent when it is %j (R60)', (absent) => {
    expect(parseHeader(absent)).toBeNull()
  })
})
