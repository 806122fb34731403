import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  applyPatch,
  assertTopic,
  clientErrorCodes,
  encodeSse,
  formatHeader,
  hashValue,
  parseClientMessages,
  parseCursor,
  parseHeader,
  parsePollAnswer,
  parsePollRequest,
  parseServerMessages,
  setupErrorCodes,
  SseParser,
  topicPattern,
  topicQuery,
  validateClientMessage,
  wireErrorCodes,
} from '@crossfade/protocol'
import { codeOf } from './code-of.ts'

const codes = new Set<string>([...wireErrorCodes, ...setupErrorCodes, ...clientErrorCodes])

/** Whether a call answers or fails with a code of ours; any other error is thrown on. */
function keepsItsWord(call: () => unknown): boolean {
  const code = codeOf(call)
  return code === null || codes.has(code)
}

const prototypeNames = (): string[] =>
  [Object.prototype, Array.prototype].flatMap((prototype) => Object.getOwnPropertyNames(prototype))

const readers: Readonly<Record<string, (text: string) => unknown>> = {
  assertTopic,
  topicQuery,
  topicPattern,
  'topicPattern.match': (text) => topicPattern('a/:b').match(text),
  'topicPattern.expand': (text) => topicPattern('a/:b').expand({ b: text }),
  parseCursor,
  parseHeader,
  parseClientMessages,
  parseServerMessages,
  SseParser: (text) => new SseParser(() => {}).push(text),
  encodeSse: (text) => encodeSse(text, { id: text }),
  hashValue,
}

const takers: Readonly<Record<string, (value: never) => unknown>> = {
  assertTopic,
  hashValue,
  parsePollRequest,
  parsePollAnswer,
  'applyPatch to it': (value) => applyPatch(value, [{ op: 'add', path: '/a/0/b', value: 1 }]),
  'applyPatch of it': (value) => applyPatch({ a: [1] }, value),
  'applyPatch of a list of it': (value) => applyPatch({ a: [1] }, [value]),
}

/** Text that is nearly right gets further than noise. */
const nearly = fc
  .tuple(
    fc.constantFrom(
      'topic="orders/42", cursor="k3v9q2m1x8ab_000000000041", stage=push, percent=25, x=("a" 1.5;b);c, y=%"%c3%a9"',
      'orders/42?a=b&c=%C3%A9',
      '{"type":"subscribe","id":"a","topic":"orders"}\n{"type":"ping","n":1}',
      'id: 1\r\ndata: x\ndata: y\n\nretry: 5\n\n',
      'k3v9q2m1x8ab_000000000041',
    ),
    fc.nat(),
    fc.nat({ max: 4 }),
    fc.string({ maxLength: 3, unit: 'binary' }),
  )
  .map(([text, at, cut, put]) => text.slice(0, at % text.length) + put + text.slice((at % text.length) + cut))

// UTF-16 code units, so that halves of surrogate pairs come, too.
const units = fc.array(fc.nat({ max: 0xffff })).map((codes) => String.fromCharCode(...codes))

describe('whatever comes', () => {
  test.each(Object.keys(readers))('%s answers it or fails with a code, given text (R33)', (name) => {
    const reader = readers[name] as (text: string) => unknown
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), units, fc.json(), nearly), (text) => {
        expect(keepsItsWord(() => reader(text))).toBe(true)
      }),
      { numRuns: 400 },
    )
  })

  test.each(Object.keys(takers))('%s answers it or fails with a code, given values (R33)', (name) => {
    const taker = takers[name] as (value: unknown) => unknown
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.jsonValue()), (value) => {
        expect(keepsItsWord(() => taker(value))).toBe(true)
      }),
      { numRuns: 300 },
    )
  })

  test('parseHeader never fails at all (R10)', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), units, nearly), (text) => {
        const header = parseHeader(text)
        expect(header === null ? null : parseHeader(formatHeader(header))).toEqual(header)
      }),
      { numRuns: 400 },
    )
  })

  test('what the parser of client messages lets through, the validator judges (R33)', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), nearly), (text) => {
        expect(keepsItsWord(() => parseClientMessages(text).map(validateClientMessage))).toBe(true)
      }),
    )
  })

  test('leaves the prototypes as they were', () => {
    const before = prototypeNames()
    const paths = fc.array(fc.constantFrom('__proto__', 'constructor', 'prototype', 'a', '0', '-', 'polluted'), {
      minLength: 1,
      maxLength: 4,
    })
    fc.assert(
      fc.property(paths, fc.constantFrom('add' as const, 'replace' as const), (tokens, op) => {
        codeOf(() => applyPatch({ a: [{}] }, [{ op, path: `/${tokens.join('/')}`, value: { polluted: true } }]))
      }),
      { numRuns: 500 },
    )
    expect(prototypeNames()).toEqual(before)
  })
})
