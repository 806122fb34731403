import { CrossfadeError, hashValue, stages, type Rollout } from '@crossfade/protocol'

/** A feature's rollout as the operator sees and sets it (PROTOCOL §10). */
export interface FeatureRollout extends Rollout {
  readonly feature: string
}

const initial: Rollout = { stage: 'off', percent: 100, rest: 'off' }

/** A rollout as it is set: `percent` is 100 and `rest` is `off` unless it says otherwise, so that `{stage: 'off'}` is off for all. */
export type RolloutSetting = Pick<Rollout, 'stage'> & Partial<Rollout>
const recentMs = 300_000

/** Which stage each feature is in. In memory: a restart begins with what the application configures. */
export class RolloutStore {
  readonly #rollouts = new Map<string, Rollout>()
  readonly #changedAt = new Map<string, number>()
  readonly #listeners = new Set<(rollout: FeatureRollout) => void>()
  #version: string | null = null

  constructor(configured: Readonly<Record<string, Partial<Rollout>>> = {}) {
    for (const [feature, rollout] of Object.entries(configured))
      this.#rollouts.set(feature, checked({ stage: 'off', ...rollout }))
  }

  /** Declares a feature, so that it can be listed and set. */
  declare(feature: string): void {
    if (this.#rollouts.has(feature)) return
    this.#rollouts.set(feature, initial)
    this.#version = null
  }

  /** Names all rollouts as they are: the same wherever they are the same. */
  get version(): string {
    return (this.#version ??= hashValue(Object.fromEntries(this.#rollouts)))
  }

  get(feature: string): Rollout {
    return this.#rollouts.get(feature) ?? initial
  }

  all(): FeatureRollout[] {
    return [...this.#rollouts].map(([feature, rollout]) => ({ feature, ...rollout }))
  }

  /**
   * Sets a feature's rollout, all of it; clients with a connection hear of it at once (R61).
   *
   * @throws CrossfadeError `unknown_feature`, or `malformed` when a value is not allowed.
   */
  set(feature: string, setting: RolloutSetting): FeatureRollout {
    if (!this.#rollouts.has(feature)) {
      throw new CrossfadeError(
        'unknown_feature',
        `No route has the feature "${feature}". Known: ${[...this.#rollouts.keys()].join(', ') || 'none'}.`,
      )
    }
    const rollout = checked(setting)
    this.#rollouts.set(feature, rollout)
    this.#changedAt.set(feature, performance.now())
    this.#version = null
    const announced = { feature, ...rollout }
    for (const listener of this.#listeners) listener(announced)
    return announced
  }

  /** Features whose change a client that polls may have missed, if it does not say what it has heard. */
  recent(): FeatureRollout[] {
    const since = performance.now() - recentMs
    return [...this.#changedAt].filter(([, at]) => at > since).map(([feature]) => ({ feature, ...this.get(feature) }))
  }

  /** @returns what takes the listener off. */
  onChange(listener: (rollout: FeatureRollout) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

function checked({ stage, percent = initial.percent, rest = initial.rest }: RolloutSetting): Rollout {
  for (const value of [stage, rest]) {
    if (!stages.includes(value))
      throw new CrossfadeError('malformed', `${JSON.stringify(value)} is no stage. Stages are ${stages.join(', ')}.`)
  }
  if (!Number.isInteger(percent) || percent < 0 || percent > 100) {
    throw new CrossfadeError('malformed', `percent must be a whole number from 0 to 100, got ${String(percent)}.`)
  }
  return { stage, percent, rest }
}
