import type { ServerMessage, TopicPosition } from '@crossfade/protocol'
import type { TopicSubscription } from '../topics/subscription.ts'

/** What a transport asked for a topic: under which id, and from where. */
export interface Asked {
  readonly id: string
  readonly cursor: string | undefined
}

/** All that one request asked for: what its answer brings belongs to that, whatever is wanted by then. */
export class AskedTopics {
  /** The body's `topics`; without those whose time has not come. */
  readonly topics: Readonly<Record<string, TopicPosition>>
  readonly #asked = new Map<string, Asked>()

  constructor(subscriptions: Iterable<TopicSubscription>) {
    const topics: [string, TopicPosition][] = []
    for (const { topic, id, position, isWaiting } of subscriptions) {
      if (!isWaiting) topics.push([topic, position])
      this.#asked.set(topic, { id, cursor: position.cursor })
    }
    this.topics = Object.fromEntries(topics)
  }

  /** Whether it asked for exactly what is wanted. */
  covers(subscriptions: Iterable<TopicSubscription>): boolean {
    const wanted = [...subscriptions]
    return wanted.length === this.#asked.size && wanted.every((subscription) => this.has(subscription))
  }

  has(subscription: Pick<TopicSubscription, 'topic' | 'id'>): boolean {
    return this.to(subscription) !== undefined
  }

  /** What was asked for this subscription, if it was asked for. */
  to({ topic, id }: Pick<TopicSubscription, 'topic' | 'id'>): Asked | undefined {
    const asked = this.#asked.get(topic)
    return asked?.id === id ? asked : undefined
  }

  /** Whether it asked for all that another one asks for. */
  includes(other: AskedTopics): boolean {
    return [...other.#asked].every(([topic, { id }]) => this.has({ topic, id }))
  }

  /** What was asked for the topic of a message. */
  of(message: ServerMessage): Asked | undefined {
    return 'topic' in message && message.topic !== undefined ? this.#asked.get(message.topic) : undefined
  }
}
