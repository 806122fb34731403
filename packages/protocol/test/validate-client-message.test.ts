import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { validateClientMessage, type ClientMessage } from '@crossfade/protocol'
import { codeOf } from './code-of.ts'

const cursor = 'k3v9q2m1x8ab_000000000041'
const requestId = 'x'.repeat(22)
const codeFor = (message: unknown): string | null => codeOf(() => validateClientMessage(message as ClientMessage))

describe('a good message', () => {
  test.each<ClientMessage>([
    { type: 'hello', protocol: 1 },
    { type: 'hello', protocol: 2, token: 'secret', stagesSince: 0 },
    { type: 'subscribe', id: 'a', topic: 'orders/42' },
    { type: 'subscribe', id: 'a', topic: 'orders/42', cursor, hash: '27ace383f11f813b', history: 0, mode: 'events' },
    { type: 'subscribe', id: 'x'.repeat(128), topic: 'orders', history: 10_000, mode: 'changes' },
    { type: 'unsubscribe', id: 'a' },
    { type: 'request', id: requestId, method: 'chat.send', params: { text: 'hi' } },
    { type: 'request', id: requestId, method: 'chat.send' },
    { type: 'token', token: 'fresh' },
    { type: 'token', token: 'fresh', id: 't1' },
    { type: 'ping', n: 0 },
  ])('passes as it is: %j (R33)', (message) => {
    expect(validateClientMessage(message)).toBe(message)
  })
})

describe('a message with wrong fields', () => {
  test.each([
    [{ type: 'hello' }],
    [{ type: 'hello', protocol: '1' }],
    [{ type: 'hello', protocol: 0 }],
    [{ type: 'hello', protocol: 1.5 }],
    [{ type: 'hello', protocol: 1, token: 7 }],
    [{ type: 'hello', protocol: 1, stagesSince: null }],
    [{ type: 'hello', protocol: 1, stagesSince: '' }],
    [{ type: 'hello', protocol: 1, stagesSince: -1 }],
    [{ type: 'hello', protocol: 1, stagesSince: 0.5 }],
    [{ type: 'subscribe', topic: 'orders' }],
    [{ type: 'subscribe', id: '', topic: 'orders' }],
    [{ type: 'subscribe', id: 7, topic: 'orders' }],
    [{ type: 'subscribe', id: 'x'.repeat(129), topic: 'orders' }],
    [{ type: 'subscribe', id: 'a', topic: 'orders', cursor: 7 }],
    [{ type: 'subscribe', id: 'a', topic: 'orders', hash: 'xyz' }],
    [{ type: 'subscribe', id: 'a', topic: 'orders', hash: null }],
    [{ type: 'subscribe', id: 'a', topic: 'orders', history: -1 }],
    [{ type: 'subscribe', id: 'a', topic: 'orders', history: 10_001 }],
    [{ type: 'subscribe', id: 'a', topic: 'orders', history: 1.5 }],
    [{ type: 'subscribe', id: 'a', topic: 'orders', history: '5' }],
    [{ type: 'subscribe', id: 'a', topic: 'orders', mode: 'all' }],
    [{ type: 'unsubscribe' }],
    [{ type: 'unsubscribe', id: {} }],
    [{ type: 'request', id: requestId }],
    [{ type: 'request', id: requestId, method: '' }],
    [{ type: 'request', id: requestId, method: 'x'.repeat(129) }],
    [{ type: 'request', method: 'chat.send' }],
    [{ type: 'token' }],
    [{ type: 'token', token: null }],
    [{ type: 'token', token: 'fresh', id: '' }],
    [{ type: 'token', token: 'fresh', id: 7 }],
    [{ type: 'ping' }],
    [{ type: 'ping', n: '1' }],
    [{ type: 'dance' }],
    [{ type: 'toString' }],
  ])('is malformed: %j (R33)', (message) => {
    expect(codeFor(message)).toBe('malformed')
  })

  test.each(['', '/x', 'a\nb', 7, undefined])('is told of the topic %j: invalid_topic (R1, R33)', (topic) => {
    expect(codeFor({ type: 'subscribe', id: 'a', topic })).toBe('invalid_topic')
  })

  test.each(['', 'x', cursor.toUpperCase()])('is told of the cursor %j: invalid_cursor (R4, R33)', (text) => {
    expect(codeFor({ type: 'subscribe', id: 'a', topic: 'orders', cursor: text })).toBe('invalid_cursor')
  })

  test('is a request whose id is too short to be random: malformed (R34)', () => {
    expect(codeFor({ type: 'request', id: 'x'.repeat(21), method: 'chat.send' })).toBe('malformed')
    expect(codeFor({ type: 'request', id: 'x'.repeat(129), method: 'chat.send' })).toBe('malformed')
  })

  test('is told of a token beyond 8 KiB: too_large', () => {
    expect(codeFor({ type: 'token', token: 'x'.repeat(8192) })).toBeNull()
    expect(codeFor({ type: 'token', token: 'x'.repeat(8193) })).toBe('too_large')
    expect(codeFor({ type: 'hello', protocol: 1, token: 'é'.repeat(4097) })).toBe('too_large')
  })

  test('never fails in another way than with a code (R33)', () => {
    const field = fc.oneof(
      fc.jsonValue(),
      fc.constant(undefined),
      fc.constantFrom('orders', cursor, '27ace383f11f813b', 'changes'),
    )
    const fields = [
      'id',
      'topic',
      'cursor',
      'hash',
      'history',
      'mode',
      'protocol',
      'token',
      'stagesSince',
      'method',
      'params',
      'n',
    ]
    const messages = fc.record({
      type: fc.constantFrom('hello', 'subscribe', 'unsubscribe', 'request', 'token', 'ping', '__proto__'),
      ...Object.fromEntries(fields.map((name) => [name, field])),
    })
    fc.assert(
      fc.property(messages, (message) => {
        expect([null, 'malformed', 'invalid_topic', 'invalid_cursor', 'too_large']).toContain(codeFor(message))
      }),
    )
  })
})
