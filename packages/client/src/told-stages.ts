import type { EndpointHeader, Rollout, StageMessage } from '@crossfade/protocol'

/** What the server has told of stages by push, which older answers of endpoints do not undo (R61). */
export class ToldStages {
  readonly #told = new Map<string, { readonly rollout: Rollout; readonly at: number }>()
  readonly #validMs: number
  #heard = ''

  /** @param validMs while a connection lives, what was told counts for so long before what an answer says. */
  constructor(validMs: number) {
    this.#validMs = validMs
  }

  /** What a server is given back: it tells all stages if they are others by now, or if this is empty. */
  get heard(): string {
    return this.#heard
  }

  take({ feature, stage, percent, rest, stages }: StageMessage, now: number): void {
    this.#told.set(feature, { rollout: { stage, percent, rest }, at: now })
    this.#heard = stages ?? ''
  }

  /**
   * What is so by an answer's header: what it says, or what was told after the answer was asked for, or lately on a connection that lives
   * (the answer may come from a cache).
   */
  apply(header: EndpointHeader, askedAt: number, isLive: boolean): EndpointHeader {
    const { feature } = header
    if (feature === undefined) return header
    const told = this.#told.get(feature)
    if (told !== undefined && askedAt <= told.at + (isLive ? this.#validMs : 0)) return { ...header, ...told.rollout }
    if (told !== undefined && isSame(told.rollout, header)) return header
    // What is known is no longer what the server has told.
    this.#told.delete(feature)
    this.#heard = ''
    return header
  }
}

function isSame(one: Rollout, other: Rollout): boolean {
  return one.stage === other.stage && one.percent === other.percent && one.rest === other.rest
}
