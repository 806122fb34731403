import type { StageMessage } from '@crossfade/protocol'
import type { FeatureRollout, RolloutStore } from './rollout.ts'

/** The `stage` message that tells a rollout (PROTOCOL §5). */
export function stageMessage(rollout: FeatureRollout, spreadMs: number): StageMessage {
  const { feature, stage, percent, rest, version } = rollout
  return { type: 'stage', feature, stage, percent, rest, version, spread: spreadMs }
}

/**
 * What a returning client is told: the rollouts that are newer than what it has heard of, or nothing if it does not say (R61).
 *
 * @param since `stagesSince` of its `hello` or its request.
 */
export function pendingStageMessages(rollout: RolloutStore, since: number | undefined): StageMessage[] {
  return since === undefined ? [] : rollout.since(since).map((one) => stageMessage(one, 0))
}
