import { applyPatch, hashValue, type PatchOperation } from '@crossfade/protocol'
import { create, type DiffContext, type Filter } from 'jsondiffpatch'
import { format } from 'jsondiffpatch/formatters/jsonpatch'

/** Longer values are sent whole: comparing long arrays costs more than the bytes it saves. */
const maxComparedLength = 128 * 1024

/**
 * The library compares each element of a list with each of the other, and stores a number for every pair: two lists of 500 take
 * about 10 ms, two of 10,000 two seconds and 600 MB. This is the limit of pairs for all lists of a value together.
 */
const maxPairs = 250_000

/**
 * The RFC 6902 operations that lead from one JSON value to another, as JSON text.
 *
 * The library's patch is applied and the hash of the result compared before any client gets it: a wrong patch would cost every client a re-read.
 *
 * @param before the previous value as JSON text.
 * @param after the new value, as JSON text, parsed, and its hash.
 * @returns `null` when a snapshot is the better message: it is shorter, or the values or the lists in them are too long to compare.
 */
export function difference(before: string, after: { text: string; value: unknown; hash: string }): string | null {
  if (before.length > maxComparedLength || after.text.length > maxComparedLength) return null
  const base: unknown = JSON.parse(before)
  const operations = operationsBetween(base, after.value)
  if (operations === null) return null
  const patch = JSON.stringify(operations)
  if (patch.length >= after.text.length) return null
  return leadsTo(base, operations, after.hash) ? patch : null
}

/** @returns `null` when the library cannot compare them: it mistakes a member that one value lacks, such as `toString`, for a function. */
function operationsBetween(before: unknown, after: unknown): readonly PatchOperation[] | null {
  const differ = create({ objectHash: hashOf, arrays: { detectMove: false }, cloneDiffValues: false })
  differ.processor.pipes.diff.before('arrays', withinPairs(maxPairs))
  try {
    return format(differ.diff(before, after)) as PatchOperation[]
  } catch {
    return null
  }
}

/** A step of the library's pipeline that runs before two lists are compared. It throws when there are more pairs: then they are not compared. */
function withinPairs(pairs: number): Filter<DiffContext> {
  let left = pairs
  const count = (context: DiffContext): void => {
    if (!Array.isArray(context.left) || !Array.isArray(context.right)) return
    left -= pairsOf(context.left, context.right)
    if (left < 0) throw new RangeError('too many pairs')
  }
  return Object.assign(count, { filterName: 'pairs' })
}

/** How many pairs of elements two lists have between their common beginning and their common end. */
function pairsOf(before: readonly unknown[], after: readonly unknown[]): number {
  const shorter = Math.min(before.length, after.length)
  let head = 0
  while (head < shorter && isSame(before, head, after, head)) head += 1
  let tail = 0
  while (head + tail < shorter && isSame(before, before.length - 1 - tail, after, after.length - 1 - tail)) tail += 1
  return (before.length - head - tail) * (after.length - head - tail)
}

/** As the library declares it. */
function isSame(before: readonly unknown[], i: number, after: readonly unknown[], j: number): boolean {
  const [one, other] = [before[i], after[j]]
  if (one === other) return true
  return typeof one === 'object' && typeof other === 'object' && hashOf(one, i) === hashOf(other, j)
}

/** The name by which the library identifies an element: without an identity, its index. */
function hashOf(element: object | null, index?: number): string {
  return identityOf(element) ?? `$${index ?? ''}`
}

function leadsTo(base: unknown, operations: readonly PatchOperation[], hash: string): boolean {
  try {
    return hashValue(applyPatch(base, operations)) === hash
  } catch {
    return false
  }
}

/** Elements with an id are the same element wherever they stand. */
function identityOf(element: object | null): string | undefined {
  if (element === null) return undefined
  const { id, key } = element as { id?: unknown; key?: unknown }
  const identity = id ?? key
  return typeof identity === 'string' || typeof identity === 'number' ? String(identity) : undefined
}
