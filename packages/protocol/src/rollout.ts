import { murmur3 } from './murmur3.ts'
import { utf8Scratch } from './utf8.ts'

/** How far a feature has gone from polling to push (PROTOCOL §10), in this order. */
export const stages = ['off', 'shadow', 'hint', 'push'] as const

/**
 * How far a feature has gone: `off` – polled as before; `shadow` – push runs beside the polls and is compared;
 * `hint` – push says "changed" and the client re-reads; `push` – data arrives by push.
 */
export type Stage = (typeof stages)[number]

/** Who is at which stage of a feature. */
export interface Rollout {
  /** The stage of those whose bucket is below `percent`. */
  stage: Stage
  /** 0 to 100. */
  percent: number
  /** The stage of all others. */
  rest: Stage
}

/** A rollout with its place in the order of all changes: of two for one feature, the one with the greater version counts (R61). */
export interface VersionedRollout extends Rollout {
  /** A whole number that grows with each change of any feature. */
  version: number
}

/**
 * The bucket of a principal or client for a feature: MurmurHash3 of `feature + ":" + id`, seed 0, modulo 100 (PROTOCOL §10).
 * Features are salted apart, so that the same people are not always first.
 *
 * @returns 0 to 99.
 */
export function bucketOf(feature: string, id: string): number {
  const { bytes, length } = utf8Scratch(`${feature}:${id}`)
  return murmur3(bytes.subarray(0, length), 0) % 100
}

/** The stage at which a principal or client uses a feature. */
export function stageFor(rollout: Rollout, feature: string, id: string): Stage {
  return bucketOf(feature, id) < rollout.percent ? rollout.stage : rollout.rest
}
