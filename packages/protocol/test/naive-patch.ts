import type { PatchOperation } from '@crossfade/protocol'

/** Changes a value in place in the plainest way; `null` when the operation does not apply. The oracle of the patch tests. */
export function naivePatch(document: unknown, operation: PatchOperation): { value: unknown } | null {
  const { op, path } = operation
  if (path === '') return op === 'remove' ? null : { value: structuredClone(operation.value) }
  const tokens = path.slice(1).split('/').map(unescape)
  const last = tokens.pop() as string
  let parent: unknown = document
  for (const token of tokens) {
    if (!exists(parent, token)) return null
    parent = (parent as Record<string, unknown>)[token]
  }
  if (typeof parent !== 'object' || parent === null) return null
  const value = op === 'remove' ? undefined : structuredClone(operation.value)
  if (Array.isArray(parent)) return inArray(parent, op, last, value) ? { value: document } : null
  if (op !== 'add' && !exists(parent, last)) return null
  if (op === 'remove') Reflect.deleteProperty(parent, last)
  else Object.defineProperty(parent, last, { value, configurable: true, enumerable: true, writable: true })
  return { value: document }
}

/** Pointers to everything in a value, and to one new place in each container. */
export function pointersInto(value: unknown, prefix = ''): string[] {
  if (typeof value !== 'object' || value === null) return [prefix]
  const inside = Object.entries(value).flatMap(([name, member]) => pointersInto(member, `${prefix}/${escape(name)}`))
  return [prefix, ...inside, Array.isArray(value) ? `${prefix}/${value.length}` : `${prefix}/new`]
}

function inArray(array: unknown[], op: PatchOperation['op'], token: string, value: unknown): boolean {
  if (op === 'add' && (token === '-' || token === String(array.length))) array.push(value)
  else if (!exists(array, token)) return false
  else array.splice(Number(token), op === 'add' ? 0 : 1, ...(op === 'remove' ? [] : [value]))
  return true
}

function exists(parent: unknown, token: string): boolean {
  if (typeof parent !== 'object' || parent === null || !Object.hasOwn(parent, token)) return false
  return !(Array.isArray(parent) && token === 'length')
}

function escape(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}

function unescape(token: string): string {
  return token.replaceAll('~1', '/').replaceAll('~0', '~')
}
