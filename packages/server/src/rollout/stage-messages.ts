import type { StageMessage } from '@crossfade/protocol'
import type { PushGate } from '../feed/push-gate.ts'
import type { FeatureRollout, RolloutStore } from './rollout.ts'

/** The `stage` message that tells a rollout (PROTOCOL §5). */
export function stageMessage(rollout: FeatureRollout, spreadMs: number): StageMessage {
  const { feature, stage, percent, rest, version } = rollout
  return { type: 'stage', feature, stage, percent, rest, version, spread: spreadMs }
}

/**
 * What a returning client is told: the rollouts that are newer than the version it names, or nothing if it names none (R61). A
 * process that stands by tells nothing (R62).
 *
 * @param since `stagesSince` of its `hello` or its request.
 */
export function pendingStageMessages(
  { rollout, gate }: { readonly rollout: RolloutStore; readonly gate: PushGate },
  since: number | undefined,
): StageMessage[] {
  if (since === undefined || gate.isSilent) return []
  rollout.supersede(since)
  return rollout.since(since).map((one) => stageMessage(one, 0))
}
