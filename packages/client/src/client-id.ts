const key = 'crossfade-client'
let fallback: string | null = null

/** The id by which percentages choose: the application's, or a random one that the browser keeps. */
export function clientIdOf(given: string | undefined): string {
  if (given !== undefined) return given
  try {
    const kept = localStorage.getItem(key)
    if (kept !== null) return kept
    const made = crypto.randomUUID()
    localStorage.setItem(key, made)
    return made
  } catch {
    // No storage here: the same id for as long as the program runs.
    fallback ??= crypto.randomUUID()
    return fallback
  }
}
