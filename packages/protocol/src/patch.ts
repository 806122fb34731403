import { CrossfadeError } from './errors.ts'

/** An operation of a JSON Patch (RFC 6902). `move`, `copy` and `test` are not used on the wire (PROTOCOL §1). */
export type PatchOperation = { op: 'add' | 'replace'; path: string; value: unknown } | { op: 'remove'; path: string }

type Container = unknown[] | Record<string, unknown>

const arrayIndex = /^(?:0|[1-9]\d*)$/
const badEscape = /~(?![01])/

/**
 * Applies `add`, `remove` and `replace` operations. The value is never changed: the containers along the paths are copied once, all else is shared
 * with it (`===`). Names such as `__proto__` are names of own members like any other and reach no prototype.
 *
 * @returns the new value.
 * @throws CrossfadeError `patch_failed` when an operation does not apply; nothing has changed then.
 */
export function applyPatch(value: unknown, operations: readonly PatchOperation[]): unknown {
  if (!Array.isArray(operations)) throw failed('A patch is an array of operations.')
  const draft = new Draft(value)
  for (const operation of operations as readonly unknown[]) draft.apply(operation)
  return draft.root
}

/** A value of which this patch has copied what it changes. */
class Draft {
  root: unknown
  /** Copies made here; only these may be written to. */
  readonly #own = new Set<unknown>()

  constructor(value: unknown) {
    this.root = value
  }

  apply(operation: unknown): void {
    const { op, path } = checked(operation)
    const value = op === 'remove' ? undefined : (operation as { value: unknown }).value
    const tokens = pointerTokens(path)
    const last = tokens.pop()
    if (last === undefined) this.#replaceRoot(op, value)
    else {
      const parent = this.#writable(tokens, path)
      if (Array.isArray(parent)) changeArray(parent, op, last, value, path)
      else changeObject(parent, op, last, value, path)
    }
  }

  #replaceRoot(op: PatchOperation['op'], value: unknown): void {
    if (op === 'remove') throw failed('The whole value cannot be removed.')
    this.root = value
  }

  /** The container at the end of the path, and all above it, as copies of our own. */
  #writable(tokens: readonly string[], path: string): Container {
    let parent = this.#copied(this.root, path)
    this.root = parent
    for (const token of tokens) {
      const copy = this.#copied(memberOf(parent, token, path), path)
      setMember(parent, token, copy)
      parent = copy
    }
    return parent
  }

  #copied(value: unknown, path: string): Container {
    if (typeof value !== 'object' || value === null) throw nowhere(path)
    if (this.#own.has(value)) return value as Container
    // Spreading defines own members, so that a member named __proto__ stays one.
    const copy = Array.isArray(value) ? [...(value as unknown[])] : { ...(value as Record<string, unknown>) }
    this.#own.add(copy)
    return copy
  }
}

function changeArray(array: unknown[], op: PatchOperation['op'], token: string, value: unknown, path: string): void {
  const index = op === 'add' && token === '-' ? array.length : indexOf(token, path)
  if (index > array.length || (op !== 'add' && index === array.length)) throw nowhere(path)
  if (op === 'replace') array[index] = value
  else if (op === 'remove') array.splice(index, 1)
  else array.splice(index, 0, value)
}

function changeObject(
  object: Record<string, unknown>,
  op: PatchOperation['op'],
  name: string,
  value: unknown,
  path: string,
): void {
  if (op !== 'add' && !Object.hasOwn(object, name)) throw nowhere(path)
  if (op === 'remove') delete object[name]
  else setMember(object, name, value)
}

function memberOf(parent: Container, token: string, path: string): unknown {
  const key = Array.isArray(parent) ? String(indexOf(token, path)) : token
  if (!Object.hasOwn(parent, key)) throw nowhere(path)
  return (parent as Record<string, unknown>)[key]
}

function setMember(parent: Container, name: string, value: unknown): void {
  // Assigning to __proto__ would call its setter.
  if (name === '__proto__')
    Object.defineProperty(parent, name, { value, writable: true, enumerable: true, configurable: true })
  else (parent as Record<string, unknown>)[name] = value
}

function indexOf(token: string, path: string): number {
  if (!arrayIndex.test(token)) throw nowhere(path)
  return Number(token)
}

/** The tokens of a JSON Pointer (RFC 6901). */
function pointerTokens(path: string): string[] {
  if (path === '') return []
  if (!path.startsWith('/') || badEscape.test(path)) throw failed(`${JSON.stringify(path)} is not a JSON pointer.`)
  return path
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function checked(operation: unknown): PatchOperation {
  if (typeof operation === 'object' && operation !== null) {
    const { op, path } = operation as { op?: unknown; path?: unknown }
    const known = op === 'remove' || ((op === 'add' || op === 'replace') && Object.hasOwn(operation, 'value'))
    if (known && typeof path === 'string') return operation as PatchOperation
  }
  throw failed('An operation is add or replace with path and value, or remove with path.')
}

function nowhere(path: string): CrossfadeError {
  return failed(`The path ${JSON.stringify(path)} leads nowhere in the value.`)
}

function failed(why: string): CrossfadeError {
  return new CrossfadeError('patch_failed', `The patch does not apply: ${why} Read the whole value again.`)
}
