/**
 * The known name that a misspelt one was most likely meant to be, by edit distance, ignoring case.
 *
 * @returns `null` when none is near: more than half of the letters would have to change.
 */
export function nearest(name: string, known: readonly string[]): string | null {
  const [best] = known
    .map((candidate) => ({ candidate, distance: distanceOf(name.toLowerCase(), candidate.toLowerCase()) }))
    .toSorted((a, b) => a.distance - b.distance)
  if (best === undefined || best.distance > Math.max(name.length, best.candidate.length) / 2) return null
  return best.candidate
}

/** Says which name was probably meant, or which names are known. */
export function suggestion(name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === null ? `Known: ${known.join(', ')}.` : `Did you mean "${near}"?`
}

/** Levenshtein distance in which two transposed letters count as one step. */
function distanceOf(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (last[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? beforeLast[j - 2] : undefined
      row.push(Math.min(replaced, (last[j] as number) + 1, (row[j - 1] as number) + 1, (swapped ?? Infinity) + 1))
    }
    beforeLast = last
    last = row
  }
  return last[b.length] as number
}
