/** A stage change, or a drain, spreads the movement of this many clients over a second (PROTOCOL §5, `stage`). */
const movesPerSecond = 500
const maxSpreadMs = 20_000

/** The time over which this many clients should move, ms, so that they do not all move together. */
export function spreadOf(connections: number): number {
  return Math.min(maxSpreadMs, Math.floor((connections / movesPerSecond) * 1000))
}
