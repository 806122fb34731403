/** The delay before try `attempt`, counted from 0 (R40): the jitter comes after the cap, so that clients do not gather at it. */
export function backoffMs(attempt: number, random: () => number): number {
  return 250 + random() * Math.min(20_000, 500 * 2 ** attempt)
}

/** When to come back after the server asked for `retryMs`: not before, not all at once, and never at twice a second. */
export function spreadMs(retryMs: number, random: () => number): number {
  return Math.max(500, retryMs) + random() * Math.max(250, retryMs * 0.25)
}
