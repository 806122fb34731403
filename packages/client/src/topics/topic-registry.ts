import { CrossfadeError, type EventMessage, type ServerMessage, type SubscriptionMode } from '@crossfade/protocol'
import { TopicSubscription, type SubscriptionHandlers } from './subscription.ts'
import type { RestAnswer } from './value-state.ts'

/** Where a new follower stands already. */
export interface StartPosition {
  readonly cursor?: string | undefined
  readonly hash?: string | undefined
  readonly value?: unknown
  readonly history?: number | undefined
  readonly mode?: SubscriptionMode | undefined
}

interface Shared {
  readonly subscription: TopicSubscription
  readonly followers: Set<SubscriptionHandlers>
  /** The last value, for who comes later. */
  last: { value: unknown; info: { cursor: string; hash: string; at: number } } | null
}

/** The topics that somebody follows; followers of the same topic and mode share one subscription. */
export class TopicRegistry {
  readonly #shared = new Map<string, Shared>()
  readonly #changed: () => void
  readonly #drifted: (topic: string) => void

  /** @param changed what is wanted is another. */
  constructor(changed: () => void, drifted: (topic: string) => void) {
    this.#changed = changed
    this.#drifted = drifted
  }

  /** What is to be subscribed. */
  *subscriptions(): Iterable<TopicSubscription> {
    for (const shared of this.#shared.values()) yield shared.subscription
  }

  take(message: ServerMessage): void {
    if (!('topic' in message) || message.topic === undefined) return
    this.#shared.get(message.topic)?.subscription.take(message)
  }

  get(topic: string): TopicSubscription | undefined {
    return this.#shared.get(topic)?.subscription
  }

  /** A REST answer, for all who follow its topic. @returns whether it is to be shown; `null` when nobody follows it. */
  rest(topic: string, answer: RestAnswer): boolean | null {
    const subscription = this.#shared.get(topic)?.subscription
    return subscription === undefined ? null : subscription.rest(answer)
  }

  /** @returns what ends it. */
  follow(topic: string, start: StartPosition, handlers: SubscriptionHandlers): () => void {
    const mode = start.mode ?? 'events'
    const present = this.#shared.get(topic)
    const shared =
      present !== undefined && present.subscription.mode === mode ? present : this.#open(topic, start, mode, present)
    shared.followers.add(handlers)
    if (shared === present && shared.last !== null) handlers.onValue?.(shared.last.value, shared.last.info)
    return () => this.#leave(topic, handlers)
  }

  #open(topic: string, start: StartPosition, mode: SubscriptionMode, present: Shared | undefined): Shared {
    const followers = present?.followers ?? new Set<SubscriptionHandlers>()
    const shared: Shared = {
      followers,
      last: null,
      subscription: new TopicSubscription(topic, { ...defined(start), mode }, this.#fanOut(topic, followers), () =>
        this.#changed(),
      ),
    }
    this.#shared.set(topic, shared)
    this.#changed()
    return shared
  }

  #leave(topic: string, handlers: SubscriptionHandlers): void {
    const shared = this.#shared.get(topic)
    if (!shared?.followers.delete(handlers) || shared.followers.size > 0) return
    this.#shared.delete(topic)
    this.#changed()
  }

  #fanOut(topic: string, followers: ReadonlySet<SubscriptionHandlers>): SubscriptionHandlers {
    const each = (call: (handlers: SubscriptionHandlers) => void): void => {
      for (const handlers of followers) call(handlers)
    }
    return {
      onValue: (value, info) => {
        const shared = this.#shared.get(topic)
        if (shared) shared.last = { value, info }
        each((handlers) => handlers.onValue?.(value, info))
      },
      onEvent: (event: EventMessage) => each((handlers) => handlers.onEvent?.(event)),
      onChanged: (waitMs) => each((handlers) => handlers.onChanged?.(waitMs)),
      onReset: (reason) => each((handlers) => handlers.onReset?.(reason)),
      onEnd: (error: CrossfadeError) => this.#end(topic, error),
      onDrift: () => this.#drifted(topic),
    }
  }

  /** Refused or ended by the server: nobody follows it any more, and everybody hears why (R54). */
  #end(topic: string, error: CrossfadeError): void {
    const shared = this.#shared.get(topic)
    if (shared === undefined) return
    this.#shared.delete(topic)
    this.#changed()
    for (const handlers of shared.followers) handlers.onEnd?.(error)
  }
}

function defined(start: StartPosition): { cursor?: string; hash?: string; value?: unknown; history?: number } {
  return {
    ...(start.cursor === undefined ? {} : { cursor: start.cursor }),
    ...(start.hash === undefined ? {} : { hash: start.hash }),
    ...(start.history === undefined ? {} : { history: start.history }),
    value: start.value,
  }
}
