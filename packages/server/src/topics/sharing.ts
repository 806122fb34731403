import type { TopicAddress } from '../endpoints/topic-address.ts'
import type { Answer } from '../endpoints/verdict.ts'
import type { Identity } from '../identity/principal.ts'
import type { ValueTopic } from './value-topic.ts'

/** How a client's own answer compares with the value that it would share. `unsure`: the value changed meanwhile. */
export type Comparison = 'same' | 'differs' | 'unsure'

/** So many times must another client's own answer differ from the settled value that it would share. */
const maxMismatches = 2
/** Topics whose sharing has ended; beyond it the oldest may be shared, and be found out, again. */
const maxEnded = 10_000

/**
 * The net under `audience`: a permission check has the client's own answer anyway, so it is compared with the value that the client would
 * share. Where they differ again and again, the route's audience or group is wrong, and the topic is shared no more.
 */
export class Sharing {
  readonly #ended = new Set<string>()
  readonly #mismatches = new WeakMap<ValueTopic, number>()
  readonly #onEnd: (address: TopicAddress) => void

  /** @param onEnd tells who runs the server. */
  constructor(onEnd: (address: TopicAddress) => void) {
    this.#onEnd = onEnd
  }

  isEnded({ key }: TopicAddress): boolean {
    return this.#ended.has(key)
  }

  /**
   * Remembers the shared value as it is before a client's own run, or `null` when there is none that could be compared.
   *
   * An answer that differs may be newer than the value: so that is loaded again as it was loaded before, and only where it stays as it was
   * do the two differ.
   */
  compare(topic: ValueTopic): ((identity: Identity, answer: Answer) => Promise<Comparison>) | null {
    const { snapshot } = topic.state
    if (snapshot === null) return null
    const isUnchanged = (): boolean => topic.state.snapshot?.hash === snapshot.hash && topic.staleness === null
    return async (identity, answer) => {
      if (topic.loadedBy?.key === identity.key) return 'same'
      if (topic.agrees(answer)) {
        if (topic.settled && isUnchanged()) this.#agreed(topic, identity)
        return topic.settled ? 'same' : 'unsure'
      }
      await topic.reloadAsBefore()
      if (!isUnchanged()) return 'unsure'
      this.#mismatched(topic)
      return 'differs'
    }
  }

  #agreed(topic: ValueTopic, identity: Identity): void {
    this.#mismatches.delete(topic)
    topic.sharers.add(identity)
  }

  #mismatched(topic: ValueTopic): void {
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
    topic.endAll('forbidden', `The topic "${address.name}" is not shared any more. Read its endpoint.`)
  }
}
