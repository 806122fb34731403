import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { applyPatch, type ErrorCode, type PatchOperation } from '@crossfade/protocol'
import { codeOf } from './code-of.ts'
import { naivePatch, pointersInto } from './naive-patch.ts'

const order = {
  id: 42,
  items: [{ sku: 'a' }, { sku: 'b' }],
  customer: { name: 'Ann', 'a/b': 1, 'm~n': 2 },
  '': 'empty',
}

describe('a patch', () => {
  test.each<[string, PatchOperation, string, unknown]>([
    ['adds a member', { op: 'add', path: '/customer/city', value: 'Rome' }, '/customer/city', 'Rome'],
    ['adds over a member', { op: 'add', path: '/id', value: null }, '/id', null],
    [
      'replaces a member',
      { op: 'replace', path: '/customer/name', value: { first: 'A' } },
      '/customer/name',
      { first: 'A' },
    ],
    ['inserts in front', { op: 'add', path: '/items/0', value: 1 }, '/items', [1, { sku: 'a' }, { sku: 'b' }]],
    ['inserts behind', { op: 'add', path: '/items/2', value: 1 }, '/items', [{ sku: 'a' }, { sku: 'b' }, 1]],
    ['appends', { op: 'add', path: '/items/-', value: 1 }, '/items', [{ sku: 'a' }, { sku: 'b' }, 1]],
    ['replaces an element', { op: 'replace', path: '/items/1', value: 1 }, '/items', [{ sku: 'a' }, 1]],
    ['removes an element', { op: 'remove', path: '/items/0' }, '/items', [{ sku: 'b' }]],
    [
      'reaches into elements',
      { op: 'replace', path: '/items/1/sku', value: 'c' },
      '/items',
      [{ sku: 'a' }, { sku: 'c' }],
    ],
    [
      'reads ~1 as a slash',
      { op: 'replace', path: '/customer/a~1b', value: 9 },
      '/customer',
      { name: 'Ann', 'a/b': 9, 'm~n': 2 },
    ],
    ['reads ~0 as a tilde', { op: 'remove', path: '/customer/m~0n' }, '/customer', { name: 'Ann', 'a/b': 1 }],
    ['reads the empty name', { op: 'replace', path: '/', value: 'x' }, '/', 'x'],
  ])('%s (R2)', (_, operation, path, expected) => {
    const [name, second] = path.slice(1).split('/') as [string, string?]
    const result = applyPatch(order, [operation]) as Record<string, unknown>
    const member = result[name]
    expect(second === undefined ? member : (member as Record<string, unknown>)[second]).toEqual(expected)
  })

  test('reads ~01 as ~1, not as a slash (R2)', () => {
    expect(applyPatch({ 'a~1': 1 }, [{ op: 'replace', path: '/a~01', value: 2 }])).toEqual({ 'a~1': 2 })
  })

  test('replaces the whole value (R2)', () => {
    expect(applyPatch(order, [{ op: 'replace', path: '', value: [1] }])).toEqual([1])
    expect(applyPatch(undefined, [{ op: 'add', path: '', value: 7 }])).toBe(7)
  })

  test('removes a member (R2)', () => {
    expect(Object.keys(applyPatch(order, [{ op: 'remove', path: '/items' }]) as object)).toEqual(['id', 'customer', ''])
  })

  test('shares all that it does not touch, and leaves the value as it was', () => {
    const before = deepFreeze(structuredClone(order))
    const after = applyPatch(before, [
      { op: 'replace', path: '/items/1/sku', value: 'c' },
      { op: 'add', path: '/items/-', value: { sku: 'd' } },
    ]) as typeof order
    expect(before).toEqual(order)
    expect(after.items.map((item) => item.sku)).toEqual(['a', 'c', 'd'])
    expect(after.customer).toBe(before.customer)
    expect(after.items[0]).toBe(before.items[0])
    expect(after.items[1]).not.toBe(before.items[1])
  })

  test('of no operations is the value itself', () => {
    expect(applyPatch(order, [])).toBe(order)
  })

  test('does not write into its own operations', () => {
    const operations = deepFreeze<PatchOperation[]>([
      { op: 'add', path: '/new', value: { list: [] } },
      { op: 'add', path: '/new/list/-', value: 1 },
    ])
    const once = applyPatch({}, operations)
    expect(applyPatch({}, operations)).toEqual(once)
    expect(once).toEqual({ new: { list: [1] } })
  })

  test('comes to what a plain applier comes to, or fails where it fails (R7)', () => {
    const values = fc.jsonValue({ maxDepth: 3 })
    const steps = fc.array(
      fc.record({
        op: fc.constantFrom('add' as const, 'replace' as const, 'remove' as const),
        at: fc.nat(),
        value: fc.jsonValue({ maxDepth: 1 }),
        odd: fc.option(fc.constantFrom('/-', '/01', '/x/y/z', '/length', '/__proto__/a', '/constructor', '/~1'), {
          freq: 6,
        }),
      }),
      { maxLength: 8 },
    )
    fc.assert(
      fc.property(values, steps, (value, plan) => {
        const operations: PatchOperation[] = []
        let expected: { value: unknown } | null = { value: structuredClone(value) }
        for (const { op, at, value: given, odd } of plan) {
          if (expected === null) break
          const pointers = pointersInto(expected.value)
          const path = (pointers[at % pointers.length] as string) + (odd ?? '')
          const operation: PatchOperation = op === 'remove' ? { op, path } : { op, path, value: given }
          operations.push(operation)
          expected = naivePatch(expected.value, operation)
        }
        const outcome = outcomeOf(() => applyPatch(deepFreeze(value), deepFreeze(operations)))
        expect(outcome).toEqual(expected ?? 'patch_failed')
      }),
      { numRuns: 500 },
    )
  })
})

describe('a patch that does not apply', () => {
  test.each<[string, unknown]>([
    ['removes what is not there', { op: 'remove', path: '/nothing' }],
    ['replaces what is not there', { op: 'replace', path: '/nothing', value: 1 }],
    ['goes through what is not there', { op: 'add', path: '/nothing/x', value: 1 }],
    ['goes through a number', { op: 'add', path: '/id/x', value: 1 }],
    ['goes through a text', { op: 'add', path: '//0', value: 1 }],
    ['inserts behind the end', { op: 'add', path: '/items/3', value: 1 }],
    ['replaces behind the end', { op: 'replace', path: '/items/2', value: 1 }],
    ['replaces at "-"', { op: 'replace', path: '/items/-', value: 1 }],
    ['removes at "-"', { op: 'remove', path: '/items/-' }],
    ['has a leading zero', { op: 'replace', path: '/items/00', value: 1 }],
    ['has a negative index', { op: 'replace', path: '/items/-1', value: 1 }],
    ['has an index with an exponent', { op: 'replace', path: '/items/1e0', value: 1 }],
    ['names the length of an array', { op: 'replace', path: '/items/length', value: 0 }],
    ['removes the whole value', { op: 'remove', path: '' }],
    ['has a pointer without slash', { op: 'remove', path: 'id' }],
    ['has a wrong escape', { op: 'add', path: '/a~2', value: 1 }],
    ['has no value', { op: 'add', path: '/a' }],
    ['has no path', { op: 'add', value: 1 }],
    ['moves', { op: 'move', from: '/id', path: '/a' }],
    ['tests', { op: 'test', path: '/id', value: 42 }],
    ['is null', null],
    ['is text', 'remove'],
  ])('%s: patch_failed (R7)', (_, operation) => {
    const patch = [{ op: 'replace', path: '/id', value: 43 }, operation] as PatchOperation[]
    expect(codeOf(() => applyPatch(deepFreeze(structuredClone(order)), patch))).toBe('patch_failed')
  })

  test.each([null, undefined, {}, 'x', { length: 1 }])('is no array: %j (R7)', (patch) => {
    expect(codeOf(() => applyPatch(order, patch as unknown as PatchOperation[]))).toBe('patch_failed')
  })
})

describe('a hostile patch', () => {
  test.each(['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty'])(
    'makes %s a member of its own at most',
    (name) => {
      const result = applyPatch({}, [{ op: 'add', path: `/${name}`, value: { polluted: true } }]) as object
      expect(Object.getOwnPropertyDescriptor(result, name)?.value).toEqual({ polluted: true })
      expect(Object.getPrototypeOf(result)).toBe(Object.prototype)
      expect((result as { polluted?: true }).polluted).toBeUndefined()
    },
  )

  test.each([
    '/__proto__/polluted',
    '/constructor/prototype/polluted',
    '/list/__proto__/polluted',
    '/list/constructor/prototype/polluted',
    '/list/0/__proto__/polluted',
  ])('does not reach a prototype through %s', (path) => {
    const value = { list: [{}] }
    expect(codeOf(() => applyPatch(value, [{ op: 'add', path, value: true }]))).toBe('patch_failed')
    expect(codeOf(() => applyPatch(value, [{ op: 'replace', path, value: true }]))).toBe('patch_failed')
    expect(codeOf(() => applyPatch(value, [{ op: 'remove', path: path.replace('/polluted', '') }]))).toBe(
      'patch_failed',
    )
    expect(({} as { polluted?: true }).polluted).toBeUndefined()
    expect(([] as { polluted?: true }).polluted).toBeUndefined()
  })

  test('changes a member named __proto__ that came as JSON, and nothing else', () => {
    const value: unknown = JSON.parse('{"__proto__":{"a":1},"b":2}')
    const result = applyPatch(value, [
      { op: 'replace', path: '/__proto__/a', value: 5 },
      { op: 'add', path: '/__proto__/polluted', value: true },
    ])
    expect(JSON.stringify(result)).toBe('{"__proto__":{"a":5,"polluted":true},"b":2}')
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype)
    expect(JSON.stringify(applyPatch(value, [{ op: 'remove', path: '/__proto__' }]))).toBe('{"b":2}')
    expect(({} as { polluted?: true }).polluted).toBeUndefined()
  })

  test('with a path of 100,000 steps fails without overflowing the stack', () => {
    const path = '/a'.repeat(100_000)
    expect(codeOf(() => applyPatch({ a: {} }, [{ op: 'add', path, value: 1 }]))).toBe('patch_failed')
  })
})

/** What a call comes to, or the code with which it fails. */
function outcomeOf(call: () => unknown): { value: unknown } | ErrorCode | null {
  let value: unknown
  return codeOf(() => (value = call())) ?? { value }
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) deepFreeze(member)
    Object.freeze(value)
  }
  return value
}
