import { CrossfadeError, type Rollout, type Stage } from '@crossfade/protocol'

/** A feature's rollout as the operator sees and sets it (PROTOCOL §10). */
export interface FeatureRollout extends Rollout {
  readonly feature: string
}

const stages: readonly Stage[] = ['off', 'shadow', 'hint', 'push']
const initial: Rollout = { stage: 'off', percent: 100, rest: 'off' }
const recentMs = 300_000

/** Which stage each feature is in. In memory: a restart begins with what the application configures. */
export class RolloutStore {
  readonly #rollouts = new Map<string, Rollout>()
  readonly #changedAt = new Map<string, number>()
  readonly #listeners = new Set<(rollout: FeatureRollout) => void>()

  constructor(configured: Readonly<Record<string, Partial<Rollout>>> = {}) {
    for (const [feature, rollout] of Object.entries(configured)) this.#rollouts.set(feature, checked(rollout, initial))
  }

  /** Declares a feature, so that it can be listed and set. */
  declare(feature: string): void {
    if (!this.#rollouts.has(feature)) this.#rollouts.set(feature, initial)
  }

  get(feature: string): Rollout {
    return this.#rollouts.get(feature) ?? initial
  }

  all(): FeatureRollout[] {
    return [...this.#rollouts].map(([feature, rollout]) => ({ feature, ...rollout }))
  }

  /**
   * Changes a feature's rollout; clients with a connection hear of it at once (R61).
   *
   * @param change what is not given stays as it is.
   * @throws CrossfadeError `unknown_feature`, or `malformed` when a value is not allowed.
   */
  set(feature: string, change: Partial<Rollout>): FeatureRollout {
    const before = this.#rollouts.get(feature)
    if (before === undefined) {
      throw new CrossfadeError(
        'unknown_feature',
        `No route has the feature "${feature}". Known: ${[...this.#rollouts.keys()].join(', ') || 'none'}.`,
      )
    }
    const rollout = checked(change, before)
    this.#rollouts.set(feature, rollout)
    this.#changedAt.set(feature, performance.now())
    const announced = { feature, ...rollout }
    for (const listener of this.#listeners) listener(announced)
    return announced
  }

  /** Features whose change a client between two polls may have missed. */
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

function checked(change: Partial<Rollout>, before: Rollout): Rollout {
  const stage = change.stage ?? before.stage
  const rest = change.rest ?? before.rest
  const percent = change.percent ?? before.percent
  for (const value of [stage, rest]) {
    if (!stages.includes(value))
      throw new CrossfadeError('malformed', `"${value}" is no stage. Stages are ${stages.join(', ')}.`)
  }
  if (!Number.isInteger(percent) || percent < 0 || percent > 100) {
    throw new CrossfadeError('malformed', `percent must be a whole number from 0 to 100, got ${String(percent)}.`)
  }
  return { stage, percent, rest }
}
