import type { StaleReason } from '@crossfade/protocol'

/** Since when the newest value of a topic cannot be loaded, and why (R55). */
export interface Staleness {
  /** ms since 1970. */
  readonly since: number
  readonly reason: StaleReason
}
