import { CrossfadeError, stages, type Rollout, type VersionedRollout } from '@crossfade/protocol'

/** A feature's rollout as the operator sees and sets it (PROTOCOL §10). */
export interface FeatureRollout extends VersionedRollout {
  readonly feature: string
}

/** No clock is ahead by more than this: a greater version is an invention, ms. */
const maxAheadMs = 366 * 86_400_000

const initial: Rollout = { stage: 'off', percent: 100, rest: 'off' }

/** A rollout as it is set: `percent` is 100 and `rest` is `off` unless it says otherwise, so that `{stage: 'off'}` is off for all. */
export type RolloutSetting = Pick<Rollout, 'stage'> & Partial<Rollout>

/**
 * Which stage each feature is in. In memory: a restart begins with what the application configures.
 *
 * While it is suspended every feature is `off`, whatever is set.
 *
 * Versions are derived from the clock, so that those of a process are greater than those of its predecessor (R61).
 */
export class RolloutStore {
  readonly #rollouts = new Map<string, VersionedRollout>()
  readonly #listeners = new Set<(rollout: FeatureRollout) => void>()
  #version = 0
  #isSuspended = false

  constructor(configured: Readonly<Record<string, Partial<Rollout>>> = {}) {
    for (const [feature, rollout] of Object.entries(configured))
      this.#put(feature, checked({ stage: 'off', ...rollout }))
  }

  /** Declares a feature, so that it can be listed and set. */
  declare(feature: string): void {
    if (!this.#rollouts.has(feature)) this.#put(feature, initial)
  }

  get(feature: string): VersionedRollout {
    const rollout = this.#rollouts.get(feature) ?? { ...initial, version: 0 }
    return this.#isSuspended ? { ...initial, version: rollout.version } : rollout
  }

  all(): FeatureRollout[] {
    return [...this.#rollouts.keys()].map((feature) => ({ feature, ...this.get(feature) }))
  }

  /** The rollouts as they are set, suspended or not. */
  configured(): FeatureRollout[] {
    return [...this.#rollouts].map(([feature, rollout]) => ({ feature, ...rollout }))
  }

  /** Turns all features `off`, without changing what is set; connected clients are told immediately. */
  suspend(): void {
    this.#isSuspended = true
    this.#renew()
  }

  /** Ends {@link suspend}. The rollouts get new versions, so that they also supersede what another process has announced (R61). */
  resume(): void {
    this.#isSuspended = false
    this.#renew()
  }

  /**
   * Replaces a feature's rollout; connected clients are told immediately (R61).
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
    const rollout = this.#put(feature, checked(setting))
    this.#announce(feature)
    return { feature, ...rollout }
  }

  /**
   * A client has heard of a greater version than any here: the clock of this machine is behind that of a predecessor, and whatever is said
   * here would be ignored (R61). All rollouts get greater versions.
   */
  supersede(version: number): void {
    if (version <= this.#version || version > Date.now() + maxAheadMs) return
    this.#version = version
    for (const [feature, { stage, percent, rest }] of this.#rollouts) this.#put(feature, { stage, percent, rest })
  }

  /** The rollouts with a greater version, in the order of their changes: a client that gets only some of them can resume from there. */
  since(version: number): FeatureRollout[] {
    return this.all()
      .filter((rollout) => rollout.version > version)
      .toSorted((a, b) => a.version - b.version)
  }

  /** @returns removes the listener. */
  onChange(listener: (rollout: FeatureRollout) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #renew(): void {
    for (const [feature, { stage, percent, rest }] of this.#rollouts) {
      this.#put(feature, { stage, percent, rest })
      if (stage !== 'off' || rest !== 'off') this.#announce(feature)
    }
  }

  #announce(feature: string): void {
    for (const listener of this.#listeners) listener({ feature, ...this.get(feature) })
  }

  #put(feature: string, rollout: Rollout): VersionedRollout {
    this.#version = Math.max(this.#version + 1, Date.now())
    const versioned = { ...rollout, version: this.#version }
    this.#rollouts.set(feature, versioned)
    return versioned
  }
}

function checked({ stage, percent = initial.percent, rest = initial.rest }: RolloutSetting): Rollout {
  for (const value of [stage, rest]) {
    if (!stages.includes(value))
      throw new CrossfadeError('malformed', `${JSON.stringify(value)} is not a stage. Stages are ${stages.join(', ')}.`)
  }
  if (!Number.isInteger(percent) || percent < 0 || percent > 100) {
    throw new CrossfadeError('malformed', `percent must be a whole number from 0 to 100, got ${String(percent)}.`)
  }
  return { stage, percent, rest }
}
