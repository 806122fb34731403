import { applyPatch, hashValue, type PatchOperation } from '@crossfade/protocol'
import { create } from 'jsondiffpatch'
import { format } from 'jsondiffpatch/formatters/jsonpatch'

/** Longer values are sent whole: comparing long arrays costs more than the bytes it saves. */
const maxComparedLength = 128 * 1024

const differ = create({
  objectHash: (element: object | null, index) => identityOf(element) ?? `$${index ?? ''}`,
  arrays: { detectMove: false },
  cloneDiffValues: false,
})

/**
 * The RFC 6902 operations that lead from one JSON value to another, as JSON text.
 *
 * The library's answer is applied and its hash compared before anybody gets it: a wrong patch would cost every client a re-read.
 *
 * @param before the previous value as JSON text.
 * @param after the new value, as JSON text, parsed, and its hash.
 * @returns `null` when a snapshot is the better message: shorter, or the values too long to compare.
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

/** @returns `null` when the library cannot compare them: it takes a member that one value lacks, such as `toString`, for a function. */
function operationsBetween(before: unknown, after: unknown): readonly PatchOperation[] | null {
  try {
    return format(differ.diff(before, after)) as PatchOperation[]
  } catch {
    return null
  }
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
