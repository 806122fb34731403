import { setTimeout as pause } from 'node:timers/promises'
import type { Comparison, SharedValue } from '../access/permission.ts'
import type { TopicAddress } from '../endpoints/topic-address.ts'
import type { Identity } from '../identity/principal.ts'
import type { ValueTopic } from './value-topic.ts'

/** How many times another client's own answer must differ from the settled value that it would share. */
const maxMismatches = 2
/** How many topics whose sharing has ended are remembered; beyond that the oldest may be shared, and detected, again. */
const maxEnded = 10_000
/** How long the feed may take to report a change that the answer already shows, ms; longer if the handler reads from a lagging copy. */
const toldWithinMs = 500

/**
 * A safety net under `audience`: a permission check has the client's own answer anyway, so it is compared with the value that the client would
 * share. Where they differ again and again, the route's audience or group is wrong, and the topic is no longer shared.
 */
export class Sharing {
  readonly #ended = new Set<string>()
  readonly #mismatches = new WeakMap<ValueTopic, number>()
  readonly #onEnd: (address: TopicAddress) => void

  /** @param onEnd tells the operator. */
  constructor(onEnd: (address: TopicAddress) => void) {
    this.#onEnd = onEnd
  }

  isEnded({ key }: TopicAddress): boolean {
    return this.#ended.has(key)
  }

  /**
   * The shared value as it is before a client's own run, or `null` when there is none that could be compared.
   *
   * An answer that differs may be newer than the value: so the value is loaded again with the same credentials, and the feed is given time to
   * report the change. Only if no change arrives do the two count as different.
   */
  valueOf(topic: ValueTopic): SharedValue | null {
    const { snapshot, epoch, head } = topic.state
    if (snapshot === null) return null
    const { changes } = topic
    const isUnchanged = (): boolean =>
      topic.changes === changes && topic.state.epoch === epoch && topic.state.head === head && topic.staleness === null
    return {
      loadedAs: topic.loadedAs,
      compare: async (identity, answer, reference): Promise<Comparison> => {
        if (topic.loadedBy?.key === identity.key) return 'same'
        const isStale = topic.staleness !== null
        if ((topic.settled || isStale) && topic.agrees(answer)) return this.#agreed(topic, identity)
        if (reference !== null && topic.equalityOf(reference) === topic.equalityOf(answer))
          return this.#agreed(topic, identity)
        // Its load fails already, and is retried: one more for each client that is compared with it would be too many.
        if (isStale) return 'stale'
        await topic.reloadAsBefore()
        if (!isUnchanged()) return 'unsure'
        await pause(Math.max(toldWithinMs, ...topic.address.definition.reloadAfterMs))
        if (!isUnchanged()) return 'unsure'
        this.#mismatched(topic)
        return 'differs'
      },
    }
  }

  #agreed(topic: ValueTopic, identity: Identity): 'same' {
    this.#mismatches.delete(topic)
    topic.sharers.add(identity)
    return 'same'
  }

  #mismatched(topic: ValueTopic): void {
    // Several checks may have found it at the same time.
    if (this.isEnded(topic.address)) return
    const mismatches = (this.#mismatches.get(topic) ?? 0) + 1
    this.#mismatches.set(topic, mismatches)
    if (mismatches >= maxMismatches) this.#end(topic)
  }

  #end(topic: ValueTopic): void {
    const { address } = topic
    this.#ended.add(address.key)
    for (const oldest of this.#ended) {
      if (this.#ended.size <= maxEnded) break
      this.#ended.delete(oldest)
    }
    this.#mismatches.delete(topic)
    this.#onEnd(address)
  }
}
