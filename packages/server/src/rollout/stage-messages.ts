import type { StageMessage } from '@crossfade/protocol'
import type { FeatureRollout, RolloutStore } from './rollout.ts'

/** The `stage` message that tells a rollout (PROTOCOL §5). */
export function stageMessage({ feature, stage, percent, rest }: FeatureRollout, spreadMs: number): StageMessage {
  return { type: 'stage', feature, stage, percent, rest, spread: spreadMs }
}

/**
 * What a client that comes is told: nothing if it has heard how things are, or does not say what it has heard; else all (R61).
 *
 * @param heard `stages` of its `hello` or its request.
 * @param features of which it wants to hear. Default: all.
 */
export function pendingStageMessages(
  rollout: RolloutStore,
  heard: string | undefined,
  features?: readonly string[],
): StageMessage[] {
  if (heard === undefined || heard === rollout.version) return []
  const wanted = rollout.all().filter(({ feature }) => features?.includes(feature) !== false)
  const messages = wanted.map((one) => stageMessage(one, 0))
  const last = messages.pop()
  // Who has the last one has them all.
  return last === undefined ? [] : [...messages, { ...last, stages: rollout.version }]
}
