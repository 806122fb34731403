import { describe, expect, test } from 'vitest'
import { isServerMessage, parseClientMessages, parseServerMessages } from '@crossfade/protocol'
import { codeOf } from './code-of.ts'

const ping = { type: 'ping', n: 1 }
const bye = { type: 'bye', code: 1001, retry: 500, message: 'going' }

describe('a frame', () => {
  test('holds one message, or several, one a line (R30)', () => {
    expect(parseClientMessages(JSON.stringify(ping))).toEqual([ping])
    expect(parseClientMessages('{"type":"ping","n":1}\n{"type":"unsubscribe","id":"a"}')).toEqual([
      ping,
      { type: 'unsubscribe', id: 'a' },
    ])
    expect(parseServerMessages('{"type":"heartbeat","at":1,"n":2}\r\n\n{"type":"hello"}\n')).toEqual([
      { type: 'heartbeat', at: 1, n: 2 },
      { type: 'hello' },
    ])
  })

  test('keeps line ends inside texts together (R30)', () => {
    expect(parseClientMessages(JSON.stringify({ type: 'token', token: 'a\nb' }))).toEqual([
      { type: 'token', token: 'a\nb' },
    ])
  })

  test('may hold types and fields of a later day, which are ignored (R31)', () => {
    expect(parseClientMessages('{"type":"dance"}\n{"type":"ping","n":1,"tempo":2}')).toEqual([{ ...ping, tempo: 2 }])
    expect(parseServerMessages('{"type":"dance"}')).toEqual([])
    expect(parseClientMessages('{"type":"constructor"}')).toEqual([])
    expect(parseServerMessages('{"type":"__proto__"}')).toEqual([])
  })

  test('may say that a topic is stale, and fresh again (R55)', () => {
    const stale = { type: 'stale', topic: 'orders/42', since: 1, reason: 'unverified' }
    const fresh = { type: 'fresh', topic: 'orders/42', cursor: 'k3v9q2m1x8ab_000000000041' }
    expect(parseServerMessages(`${JSON.stringify(stale)}\n${JSON.stringify(fresh)}`)).toEqual([stale, fresh])
  })

  test('of the one side is nothing to the other', () => {
    expect(parseClientMessages(JSON.stringify(bye))).toEqual([])
    expect(parseServerMessages(JSON.stringify(ping))).toEqual([])
  })

  test.each([
    ['nothing', ''],
    ['only line ends', '\n\r\n'],
    ['no JSON', 'hello'],
    ['half a message', '{"type":"ping"'],
    ['a number', '1'],
    ['null', 'null'],
    ['an array', '[{"type":"ping"}]'],
    ['no type', '{"n":1}'],
    ['a type that is no text', '{"type":1}'],
    ['a type in a member named __proto__', '{"__proto__":{"type":"ping"}}'],
    ['a good and a bad line', '{"type":"ping","n":1}\nx'],
  ])('with %s is malformed (R33)', (_, frame) => {
    expect(codeOf(() => parseClientMessages(frame))).toBe('malformed')
    expect(codeOf(() => parseServerMessages(frame))).toBe('malformed')
  })

  test('is not repeated at length in the message that refuses it (R33)', () => {
    expect(() => parseClientMessages('x'.repeat(60_000))).toThrow(/^.{1,200}$/)
  })
})

test('a message of a server is told from others by its type (R20)', () => {
  expect(isServerMessage(bye)).toBe(true)
  expect([ping, null, 'bye', [], { type: 'toString' }, {}].filter(isServerMessage)).toEqual([])
})
