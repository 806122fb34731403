/** All the times that the client goes by, ms. */
export interface Timing {
  /** A transport must prove itself within this time. */
  readonly proofMs: number
  /** Two timed heartbeats that arrive closer together than this came through a buffer. */
  readonly proofSpacingMs: number
  /** A connection that ends sooner without `bye` was a short life. */
  readonly shortLifeMs: number
  /** After this many short lives in a row the client steps down. */
  readonly shortLives: number
  /** The first try of a better transport, doubling up to the greatest. */
  readonly climbMs: number
  readonly maxClimbMs: number
  /** How long a long poll asks to be held. */
  readonly holdMs: number
  /** Between the starts of two polls of one loop. */
  readonly pollSpacingMs: number
  /** Between two short polls. */
  readonly shortPollMs: number
  /** Between two bursts of subscriptions: the server closes on a flood (PROTOCOL §8). */
  readonly pacingMs: number
  /** A heartbeat that arrives this much later than the best seen came through a buffer. */
  readonly lagMs: number
  /** The probe that tells "blocked" from "down". */
  readonly probeMs: number
  /** How long a poll answer and a pushed value may differ before they disagree. */
  readonly graceMs: number
  /** How long answers may come without the header before it counts as gone. */
  readonly headerGraceMs: number
  /** A connection gets at most one new token in this time. */
  readonly renewMs: number
  /** At least this long between the verifying reads of a pushed value. */
  readonly verifyMs: number
}

export const defaultTiming: Timing = {
  proofMs: 4_000,
  proofSpacingMs: 100,
  shortLifeMs: 5_000,
  shortLives: 2,
  climbMs: 15_000,
  maxClimbMs: 120_000,
  holdMs: 25_000,
  pollSpacingMs: 500,
  shortPollMs: 5_000,
  pacingMs: 2_000,
  lagMs: 5_000,
  probeMs: 3_000,
  graceMs: 2_000,
  headerGraceMs: 10_000,
  renewMs: 5_000,
  verifyMs: 60_000,
}
