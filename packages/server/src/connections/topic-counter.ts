import { CrossfadeError } from '@crossfade/protocol'
import type { Identity } from '../identity/principal.ts'

/** Counts the live topics of each principal over all its connections (PROTOCOL §8). */
export class TopicCounter {
  readonly #max: number
  readonly #counts = new Map<string, number>()

  constructor(maxTopicsPerPrincipal: number) {
    this.#max = maxTopicsPerPrincipal
  }

  /** @throws CrossfadeError `too_many_topics` */
  acquire({ principal }: Identity): void {
    if (principal === null) return
    const count = this.#counts.get(principal.id) ?? 0
    if (count >= this.#max) {
      throw new CrossfadeError(
        'too_many_topics',
        `You listen to ${this.#max} topics, the most that one account may have. Unsubscribe from one first.`,
      )
    }
    this.#counts.set(principal.id, count + 1)
  }

  release({ principal }: Identity): void {
    if (principal === null) return
    const count = (this.#counts.get(principal.id) ?? 1) - 1
    if (count === 0) this.#counts.delete(principal.id)
    else this.#counts.set(principal.id, count)
  }
}
