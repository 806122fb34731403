import { suggestion } from './nearest.ts'

/** Says what is wrong with a value and what to write instead, as the end of a sentence that begins with its name; `null` when it is valid. */
export type Check = (value: unknown) => string | null

/** A check for each member of an object. */
export type Checks<T> = { readonly [Key in keyof Required<T>]: Check }

/** The longest time that a timer of Node can wait; it takes longer ones for 1 ms. */
const maxTimerMs = 2 ** 31 - 1

/** What is wrong with an object: unknown members, and members of another type. A member that is `undefined` is absent. */
export function problemsOf(given: object, checks: Readonly<Record<string, Check>>): string[] {
  return Object.entries(given).flatMap(([name, value]) => {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined
    if (check === undefined) return [`"${name}" is not known. ${suggestion(name, Object.keys(checks))}`]
    const problem = value === undefined ? null : check(value)
    return problem === null ? [] : [`${name} ${problem}`]
  })
}

/** Any value in the short form in which messages show it. */
export function shown(value: unknown): string {
  if (typeof value === 'function') return `the function ${value.name === '' ? '(without a name)' : value.name}`
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  if (value instanceof Promise) return 'a promise'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : `an array of ${value.length}`
  if (typeof value === 'object' && value !== null) {
    const keys = Object.keys(value)
    return keys.length === 0 ? 'an empty object' : `an object with ${keys.slice(0, 5).join(', ')}`
  }
  return String(value)
}

export const text: Check = (value) =>
  typeof value === 'string' && value.trim() !== '' ? null : `must be a non-empty string, got ${shown(value)}.`

export const flag: Check = (value) =>
  typeof value === 'boolean' ? null : `must be true or false, got ${shown(value)}.`

export const anyFunction: Check = (value) =>
  typeof value === 'function' ? null : `must be a function, got ${shown(value)}.`

/** A function whose result is needed synchronously. */
export const plainFunction: Check = (value) =>
  isAsync(value) ? 'must return its result directly, and an async function returns a promise.' : anyFunction(value)

/** An object that has these methods. */
export function having(...methods: readonly string[]): Check {
  return (value) => {
    const missing = methods.find((name) => typeof (value as Record<string, unknown> | null)?.[name] !== 'function')
    return missing === undefined ? null : `must be an object with ${methods.join('() and ')}(), got ${shown(value)}.`
  }
}

/** An array whose elements are all valid; `example` is one. */
export function listOf(element: Check, example: string): Check {
  return (value) => {
    if (!Array.isArray(value)) return `must be an array such as ${example}, got ${shown(value)}.`
    const wrong = value.map((item) => element(item)).findIndex((problem) => problem !== null)
    return wrong === -1 ? null : `is an array such as ${example}; its element ${wrong} ${element(value[wrong])}`
  }
}

/** An object whose members are all known and valid; `example` is one. */
export function record(checks: Readonly<Record<string, Check>>, example: string): Check {
  return (value) => {
    if (!isPlainObject(value)) return `must be an object such as ${example}, got ${shown(value)}.`
    const [problem] = problemsOf(value, checks)
    return problem === undefined ? null : `is an object such as ${example}: ${problem}`
  }
}

/** An object whose members, whatever their names, are all valid. */
export function mapOf(member: Check, example: string): Check {
  return (value) => {
    if (!isPlainObject(value)) return `must be an object such as ${example}, got ${shown(value)}.`
    for (const [name, item] of Object.entries(value)) {
      const problem = member(item)
      if (problem !== null) return `has "${name}", which ${problem}`
    }
    return null
  }
}

/** One of these words. */
export function oneOf(words: readonly string[]): Check {
  return (value) => {
    if (typeof value === 'string' && words.includes(value)) return null
    const named = words.map((word) => `"${word}"`).join(', ')
    return `must be one of ${named}, got ${shown(value)}.${typeof value === 'string' ? ` ${suggestion(value, words)}` : ''}`
  }
}

/** A number above 0, or one that may also be 0. */
export function number({ from, unit }: { readonly from: 'above 0' | '0'; readonly unit?: string }): Check {
  return (value) => {
    const isRight = typeof value === 'number' && Number.isFinite(value) && (from === '0' ? value >= 0 : value > 0)
    if (!isRight) {
      const what = `a number${unit === undefined ? '' : ` of ${unit}`}`
      return `must be ${what}, ${from === '0' ? '0 or more' : 'above 0'}, got ${shown(value)}.`
    }
    return unit === 'ms' && value > maxTimerMs ? `must be at most ${maxTimerMs} ms, got ${value}.` : null
  }
}

export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isAsync(value: unknown): boolean {
  return typeof value === 'function' && value.constructor.name === 'AsyncFunction'
}
