/** A stage change, or a drain, spreads the movement of this many clients over a second (PROTOCOL §5, `stage`). */
const movesPerSecond = 500
const maxSpreadMs = 20_000

/** Within which time so many clients should move, ms, so that they do not move at once. */
export function spreadOf(connections: number): number {
  return Math.min(maxSpreadMs, Math.floor((connections / movesPerSecond) * 1000))
}
