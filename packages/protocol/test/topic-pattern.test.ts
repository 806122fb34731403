import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { topicPattern } from '@crossfade/protocol'
import { codeOf } from './code-of.ts'

describe('a topic pattern', () => {
  const pattern = topicPattern('rooms/:room/messages/:id')

  test('names its parameters', () => {
    expect(pattern.text).toBe('rooms/:room/messages/:id')
    expect(pattern.params).toEqual(['room', 'id'])
  })

  test('makes a topic from parameters and finds them again', () => {
    expect(pattern.expand({ room: 'a b/c', id: 7 })).toBe('rooms/a%20b%2Fc/messages/7')
    expect(pattern.match('rooms/a%20b%2Fc/messages/7')).toEqual({ room: 'a b/c', id: '7' })
  })

  test('gives back the parameters of every topic that it makes (R1)', () => {
    const values = fc
      .string({ minLength: 1, maxLength: 8, unit: 'binary' })
      .filter((text) => text !== '.' && text !== '..')
    fc.assert(
      fc.property(values, values, (room, id) => {
        expect(pattern.match(pattern.expand({ room, id }))).toEqual({ room, id })
      }),
    )
  })

  test('fits one spelling of a topic only, so that no two names mean one thing (R1)', () => {
    fc.assert(
      fc.property(
        fc.string({
          maxLength: 12,
          unit: fc.constantFrom('%', '2', 'F', 'f', '4', '1', 'C3', 'A9', 'a', '/', ':', '@'),
        }),
        (part) => {
          const name = `rooms/${part}/messages/1`
          const params = pattern.match(name)
          expect(params === null ? name : pattern.expand(params)).toBe(name)
        },
      ),
    )
  })

  test('does not look at the query part', () => {
    expect(topicPattern('orders').match('orders?status=open')).toEqual({})
    expect(topicPattern('orders/:id').match('orders/1?a=b')).toEqual({ id: '1' })
  })

  test.each([
    'rooms/1/messages',
    'rooms/1/messages/2/3',
    'halls/1/messages/2',
    'rooms//messages/2',
    'rooms/%/messages/2',
    '',
    '?',
  ])('does not fit %j', (name) => {
    expect(pattern.match(name)).toBeNull()
  })

  test.each([
    ['a missing parameter', { room: 'a' }],
    ['an empty one', { room: '', id: 1 }],
    ['a dot', { room: '.', id: 1 }],
    ['two dots', { room: '..', id: 1 }],
    ['half a surrogate pair', { room: '\ud800', id: 1 }],
    ['a long one', { room: 'x'.repeat(250), id: 1 }],
    ['null', { room: null as unknown as string, id: 1 }],
    ['an object', { room: {} as unknown as string, id: 1 }],
  ])('makes no topic from %s: invalid_topic (R1)', (_, params) => {
    expect(codeOf(() => pattern.expand(params as Record<string, string>))).toBe('invalid_topic')
  })

  test('takes no parameter from a prototype', () => {
    expect(codeOf(() => topicPattern('a/:constructor').expand({}))).toBe('invalid_topic')
    const params = topicPattern('a/:__proto__').match('a/x')
    expect(Object.entries(params ?? {})).toEqual([['__proto__', 'x']])
  })

  test.each([
    '',
    '/orders/:id',
    'orders/',
    'orders/:',
    'orders/:1',
    'orders/:a-b',
    ':id/:id',
    'orders?status=:s',
    '../x',
    'orders/:id?',
  ])('is not %j: invalid_options', (text) => {
    expect(codeOf(() => topicPattern(text))).toBe('invalid_options')
  })
})
