import { describe, expect, test } from 'vitest'
import { parsePollAnswer, parsePollRequest } from '@crossfade/protocol'
import { codeOf } from './code-of.ts'

const cursor = 'k3v9q2m1x8ab_000000000041'

describe('the body of a poll', () => {
  test('is read as the contract shows it (R20)', () => {
    const body = { topics: { 'orders/42': { cursor, hash: '27ace383f11f813b' }, 'users/7': {} }, wait: 25_000 }
    expect(parsePollRequest(body)).toEqual(body)
    expect(parsePollRequest({ topics: {} })).toEqual({ topics: {} })
    expect(parsePollRequest({ topics: {}, wait: 0 })).toEqual({ topics: {}, wait: 0 })
    expect(parsePollRequest({ topics: {}, stagesSince: 0 })).toEqual({ topics: {}, stagesSince: 0 })
  })

  test('may carry history and mode; what is unknown is left out (R20, R31)', () => {
    expect(parsePollRequest({ topics: { a: { history: 5, mode: 'changes', tempo: 2 } }, extra: 1 })).toEqual({
      topics: { a: { history: 5, mode: 'changes' } },
    })
  })

  test('keeps names and cursors that are none: they are refused topic by topic (R23, R54)', () => {
    const body = { topics: { '../x': {}, ok: { cursor: 'nonsense' } } }
    expect(parsePollRequest(body)).toEqual(body)
  })

  test('takes a topic named __proto__ for a topic', () => {
    const { topics } = parsePollRequest(JSON.parse('{"topics":{"__proto__":{"history":1}}}'))
    expect(Object.entries(topics)).toEqual([['__proto__', { history: 1 }]])
    expect(Object.getPrototypeOf(topics)).toBe(Object.prototype)
  })

  test.each([
    [undefined],
    [null],
    ['x'],
    [[]],
    [{}],
    [{ topics: null }],
    [{ topics: [] }],
    [{ topics: 'orders' }],
    [{ topics: { orders: null } }],
    [{ topics: { orders: [] } }],
    [{ topics: { orders: cursor } }],
    [{ topics: { orders: { cursor: 5 } } }],
    [{ topics: { orders: { hash: 'xyz' } } }],
    [{ topics: { orders: { history: -1 } } }],
    [{ topics: { orders: { mode: 'all' } } }],
    [{ topics: {}, wait: -1 }],
    [{ topics: {}, wait: '5' }],
    [{ topics: {}, wait: null }],
    [{ topics: {}, stagesSince: '1' }],
    [{ topics: {}, stagesSince: -1 }],
  ])('is malformed: %j (R20)', (body) => {
    expect(codeOf(() => parsePollRequest(body))).toBe('malformed')
  })
})

describe('the answer to a poll', () => {
  const heartbeat = { type: 'heartbeat', at: 1, n: 2 }

  test('is read as the contract shows it (R20)', () => {
    const answer = { messages: [heartbeat], topics: { 'orders/42': { cursor } }, more: true }
    expect(parsePollAnswer(answer)).toEqual(answer)
  })

  test('may hold types and fields of a later day, which are ignored (R31)', () => {
    const answer = { messages: [{ type: 'dance' }, heartbeat, 5], topics: { a: { cursor, tempo: 1 } }, pace: 1 }
    expect(parsePollAnswer(answer)).toEqual({ messages: [heartbeat], topics: { a: { cursor } }, more: false })
  })

  test.each([
    [null],
    ['<html>'],
    [{}],
    [{ messages: [] }],
    [{ messages: {}, topics: {} }],
    [{ messages: [], topics: { a: {} } }],
    [{ messages: [], topics: { a: null } }],
  ])('is malformed: %j (R20)', (answer) => {
    expect(codeOf(() => parsePollAnswer(answer))).toBe('malformed')
  })
})
