import type { EndpointHeader, StageMessage, VersionedRollout } from '@crossfade/protocol'

/** What the client knows of rollouts, by push or by the headers of endpoints: for each feature the one with the greatest version (R61). */
export class KnownRollouts {
  readonly #known = new Map<string, VersionedRollout>()
  #heard = 0

  /** The greatest version that push has told: the server tells what is newer. */
  get heard(): number {
    return this.#heard
  }

  /** Takes what push told. @returns whether it is news: not older than what is known. */
  hear({ feature, stage, percent, rest, version }: StageMessage): boolean {
    this.#heard = Math.max(this.#heard, version)
    return this.#learn(feature, { stage, percent, rest, version })
  }

  /** The header with the newest rollout: an answer may have been asked for before a change, or come from a cache. */
  newest(header: EndpointHeader): EndpointHeader {
    const { feature, stage, percent, rest, version } = header
    // Without a version nobody can say which is newer.
    if (feature === undefined || version === undefined) return header
    this.#learn(feature, { stage, percent, rest, version })
    return { ...header, ...this.#known.get(feature) }
  }

  #learn(feature: string, rollout: VersionedRollout): boolean {
    const isNews = rollout.version >= (this.#known.get(feature)?.version ?? 0)
    if (isNews) this.#known.set(feature, rollout)
    return isNews
  }
}
