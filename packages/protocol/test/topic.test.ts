import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { assertTopic, topicName, topicQuery } from '@crossfade/protocol'
import { codeOf } from './code-of.ts'

describe('a topic', () => {
  test.each([
    'orders',
    'orders/42',
    'orders?status=open',
    'orders?a=1&b=2&b2=',
    'users/ann@example.com/notifications',
    'räume/7',
    'rooms/%C3%A9t%C3%A9',
    'a/...',
    'a/.b',
    'prices/AC:ME',
    'x'.repeat(255),
    'é'.repeat(127),
  ])('may be %j (R1)', (name) => {
    expect(assertTopic(name)).toBe(name)
  })

  test.each([
    ['nothing', ''],
    ['256 bytes', 'x'.repeat(256)],
    ['256 bytes of two each', 'é'.repeat(128)],
    ['a megabyte', 'x'.repeat(1_000_000)],
    ['a slash in front', '/orders'],
    ['a slash behind', 'orders/'],
    ['an empty segment', 'orders//42'],
    ['only a slash', '/'],
    ['a dot segment', 'orders/./42'],
    ['two dots', 'orders/../users'],
    ['two dots behind', 'orders/..'],
    ['encoded dots', 'orders/%2e%2E/users'],
    ['half-encoded dots', 'orders/.%2e'],
    ['a line feed', 'orders\n42'],
    ['a NUL', 'orders\0'],
    ['DEL', 'orders\u007f'],
    ['a C1 control', 'orders\u0085'],
    ['the last C1 control', 'orders\u009f'],
    ['half a surrogate pair', 'orders/\ud800'],
    ['an empty query part', 'orders?'],
    ['only a query part', '?status=open'],
    ['unsorted parameters', 'orders?b=1&a=2'],
    ['a parameter twice', 'orders?a=1&a=2'],
    ['a parameter without =', 'orders?status'],
    ['a parameter without name', 'orders?=1'],
    ['an empty parameter', 'orders?a=1&&b=2'],
    ['a space in the query part', 'orders?a=x y'],
    ['a plus for a space', 'orders?a=x+y'],
    ['lower-case hex', 'orders?a=%c3%a9'],
    ['a needless encoding', 'orders?a=%61'],
    ['a broken encoding', 'orders?a=%'],
    ['a second question mark', 'orders?a=1?b=2'],
  ])('may not have %s: invalid_topic (R1)', (_, name) => {
    expect(codeOf(() => assertTopic(name))).toBe('invalid_topic')
  })

  test.each([undefined, null, 42, {}, ['orders']])('is not %j (R1)', (value) => {
    expect(codeOf(() => assertTopic(value))).toBe('invalid_topic')
  })

  test('is not repeated at length in the message that refuses it (R1)', () => {
    expect(() => assertTopic('x/'.repeat(10_000))).toThrow(/^.{1,300}$/)
  })
})

describe('the name of a topic with a query', () => {
  test('is sorted and percent-encoded (R1)', () => {
    expect(topicName('orders', { status: 'open', after: 'x y&z=ä' })).toBe(
      'orders?after=x%20y%26z%3D%C3%A4&status=open',
    )
    expect(topicName('orders', { b: '', a: '', a2: '' })).toBe('orders?a=&a2=&b=')
  })

  test('is the path alone without parameters', () => {
    expect(topicName('orders')).toBe('orders')
    expect(topicName('orders', {})).toBe('orders')
  })

  test('has one spelling, which gives the parameters back (R1)', () => {
    const names = fc.string({ minLength: 1, maxLength: 3, unit: 'binary' })
    const values = fc.string({ maxLength: 3, unit: 'binary' })
    fc.assert(
      fc.property(fc.dictionary(names, values, { maxKeys: 2, noNullPrototype: true }), (query) => {
        const name = topicName('orders', query)
        expect(assertTopic(name)).toBe(name)
        expect(topicName('orders', Object.fromEntries(Object.entries(query).toReversed()))).toBe(name)
        expect(topicQuery(name)).toEqual(query)
      }),
    )
  })

  test('is refused when it makes no topic (R1)', () => {
    expect(codeOf(() => topicName('orders?x=1', { y: '2' }))).toBe('invalid_topic')
    expect(codeOf(() => topicName('orders', { y: 'x'.repeat(300) }))).toBe('invalid_topic')
    expect(codeOf(() => topicName('orders', { y: '\ud800' }))).toBe('invalid_topic')
    expect(codeOf(() => topicName('../orders'))).toBe('invalid_topic')
  })

  test('takes a parameter named __proto__ for a parameter', () => {
    const query = topicQuery('orders?__proto__=x')
    expect(Object.entries(query)).toEqual([['__proto__', 'x']])
    expect(Object.getPrototypeOf(query)).toBe(Object.prototype)
  })

  test('gives no parameters when it has none, or has them in another form', () => {
    expect(topicQuery('orders')).toEqual({})
    expect(topicQuery('orders?b=1&a=2')).toEqual({})
  })
})
