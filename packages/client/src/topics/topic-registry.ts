import {
  isUpTo,
  parseCursor,
  type CrossfadeError,
  type ErrorCode,
  type ErrorMessage,
  type EventMessage,
  type ServerMessage,
} from '@crossfade/protocol'
import { backoffMs, spreadMs } from '../backoff.ts'
import type { Environment, Timer } from '../environment.ts'
import { TopicSubscription, type Beginning, type SubscriptionHandlers } from './subscription.ts'
import type { Asked } from '../transports/asked-topics.ts'
import type { RestAnswer } from './value-state.ts'

/** Transient errors: such a refusal ends nothing (PROTOCOL §6). */
const transientCodes = new Set<ErrorCode>(['server_error', 'overloaded', 'too_fast'])
/** At least so long the client is silent that was too fast. */
const tooFastMs = 5_000

/** Somebody who follows a topic. */
interface Follower {
  readonly handlers: SubscriptionHandlers
  readonly wantsChanges: boolean
  /** Log topics: the last event that it has. */
  cursor: string | undefined
}

interface Shared {
  readonly subscription: TopicSubscription
  readonly followers: Map<SubscriptionHandlers, Follower>
}

/** The topics that somebody follows: one subscription each, whoever shares it and in whatever mode. */
export class TopicRegistry {
  readonly #shared = new Map<string, Shared>()
  readonly #changed: () => void
  readonly #drifted: (topic: string) => void
  readonly #environment: Pick<Environment, 'random' | 'setTimeout' | 'clearTimeout'>
  #retry: Timer | null = null

  /** @param changed what is wanted is another. */
  constructor(
    changed: () => void,
    drifted: (topic: string) => void,
    environment: Pick<Environment, 'random' | 'setTimeout' | 'clearTimeout'>,
  ) {
    this.#changed = changed
    this.#drifted = drifted
    this.#environment = environment
  }

  /** What is to be subscribed. */
  *subscriptions(): Iterable<TopicSubscription> {
    for (const shared of this.#shared.values()) yield shared.subscription
  }

  get(topic: string): TopicSubscription | undefined {
    return this.#shared.get(topic)?.subscription
  }

  /** @param asked what the message answers: an older subscription does not count any more. */
  take(message: ServerMessage, asked: Asked | undefined): void {
    if (!('topic' in message) || message.topic === undefined) return
    const subscription = this.get(message.topic)
    if (subscription === undefined || subscription.id !== asked?.id) return
    if (message.type === 'error' && transientCodes.has(message.code)) this.askLater(message.topic, message)
    else subscription.take(message, asked)
  }

  /** It is asked for again after the time that the server said, or a while (R40), in one go with what waits already. */
  askLater(topic: string, { code, retry }: Partial<Pick<ErrorMessage, 'code' | 'retry'>> = {}): void {
    const { random, setTimeout } = this.#environment
    const subscription = this.get(topic)
    if (subscription === undefined) return
    subscription.isLive = false
    subscription.isWaiting = true
    this.#retry ??= setTimeout(
      () => {
        this.#retry = null
        for (const waiting of this.subscriptions()) if (waiting.isWaiting) waiting.resume()
      },
      retry === undefined
        ? (code === 'too_fast' ? tooFastMs : 0) + backoffMs(subscription.refusals, random)
        : spreadMs(retry, random),
    )
    subscription.refusals += 1
  }

  /** Nothing is asked for any more. */
  close(): void {
    this.#environment.clearTimeout(this.#retry)
    this.#retry = null
  }

  /**
   * A REST answer, for all who follow its topic (R8).
   *
   * @param asker shows it by itself.
   * @returns whether it is old: newer has been shown.
   */
  rest(topic: string, answer: RestAnswer & { at: number }, asker: SubscriptionHandlers | null): boolean {
    const shared = this.#shared.get(topic)
    if (shared === undefined) return false
    const { value, cursor, hash, at } = answer
    const outcome = shared.subscription.rest(answer)
    if (outcome === 'shown') {
      this.#tell(shared, (handlers) => {
        if (handlers !== asker) handlers.onValue?.(value, { cursor, hash, at })
      })
    }
    return outcome === 'ignored'
  }

  /** @returns what ends it. */
  follow(topic: string, beginning: Beginning, handlers: SubscriptionHandlers): () => void {
    const follower: Follower = {
      handlers,
      wantsChanges: beginning.mode === 'changes',
      cursor: beginning.cursor,
    }
    const present = this.#shared.get(topic)
    if (present === undefined) this.#open(topic, beginning, follower)
    else this.#join(present, beginning, follower)
    return () => this.#leave(topic, handlers)
  }

  #open(topic: string, beginning: Beginning, follower: Follower): void {
    const shared: Shared = {
      followers: new Map([[follower.handlers, follower]]),
      subscription: new TopicSubscription(topic, beginning, this.#fanOut(topic), () => this.#changed()),
    }
    this.#shared.set(topic, shared)
    this.#changed()
  }

  /** One more follows what is followed already: neither is to miss anything. */
  #join(shared: Shared, beginning: Beginning, follower: Follower): void {
    const { subscription, followers } = shared
    const { mode, held, topic, epoch, position } = subscription
    // What is told again from further back is not for those who began at the head.
    for (const other of followers.values()) other.cursor ??= position.cursor
    followers.set(follower.handlers, follower)
    const { cursor, hash, value, history = 0, at = 0 } = beginning
    if (follower.wantsChanges) {
      // What has changed since its cursor was told before it came.
      const isBehind = cursor !== undefined && subscription.cursor !== null && !isUpTo(subscription.cursor, cursor)
      if (isBehind) follower.handlers.onChanged?.(0)
      return
    }
    if (mode === 'changes') return subscription.restart(beginning)
    if (cursor !== undefined && hash === undefined) return this.#rewind(subscription, cursor, follower)
    if (cursor === undefined && held === null && history > (position.history ?? 0))
      return subscription.restart({ history, mode })
    const isBehind =
      cursor === undefined ||
      hash === undefined ||
      this.rest(topic, { cursor, hash, value, askedIn: epoch, at }, follower.handlers)
    if (isBehind && held !== null) follower.handlers.onValue?.(held.value, held.info)
  }

  /** A log's new follower that stands further back: the log is told again from there, and each takes what it has not had. */
  #rewind(subscription: TopicSubscription, cursor: string, follower: Follower): void {
    const theirs = parseCursor(cursor)
    const mine = subscription.cursor === null ? null : parseCursor(subscription.cursor)
    if (mine !== null && mine.epoch !== theirs.epoch) {
      follower.cursor = undefined
      follower.handlers.onReset?.('the cursor is of another epoch', 0)
    } else if (mine === null || theirs.offset < mine.offset) subscription.restart({ cursor, mode: subscription.mode })
  }

  #leave(topic: string, handlers: SubscriptionHandlers): void {
    const shared = this.#shared.get(topic)
    if (!shared?.followers.delete(handlers)) return
    const { followers, subscription } = shared
    if (followers.size === 0) this.#drop(topic)
    else if (subscription.mode === 'events' && [...followers.values()].every(({ wantsChanges }) => wantsChanges)) {
      // Nobody wants the data any more.
      const { cursor } = subscription
      subscription.restart({ ...(cursor === null ? {} : { cursor }), mode: 'changes' })
    }
  }

  #tell(shared: Shared, call: (handlers: SubscriptionHandlers, follower: Follower) => void): void {
    // A follower may leave, or another come, while it is told.
    for (const follower of Array.from(shared.followers.values())) {
      if (shared.followers.has(follower.handlers)) call(follower.handlers, follower)
    }
  }

  #fanOut(topic: string): SubscriptionHandlers {
    const each = (call: (handlers: SubscriptionHandlers, follower: Follower) => void): void => {
      const shared = this.#shared.get(topic)
      if (shared !== undefined) this.#tell(shared, call)
    }
    return {
      onValue: (value, info) =>
        each((handlers, { wantsChanges }) => {
          if (wantsChanges) handlers.onChanged?.(0)
          else handlers.onValue?.(value, info)
        }),
      onEvent: (event) => each((_handlers, follower) => tellEvent(follower, event)),
      onChanged: (waitMs) => each((handlers) => handlers.onChanged?.(waitMs)),
      onReset: (reason, waitMs) =>
        each((handlers, follower) => {
          follower.cursor = undefined
          if (follower.wantsChanges) handlers.onChanged?.(waitMs)
          else handlers.onReset?.(reason, waitMs)
        }),
      onEnd: (error) => this.#end(topic, error),
      onDrift: () => this.#drifted(topic),
    }
  }

  /** Refused or ended by the server: nobody follows it any more, and everybody hears why (R54). */
  #end(topic: string, error: CrossfadeError): void {
    const shared = this.#shared.get(topic)
    if (shared === undefined) return
    this.#drop(topic)
    this.#tell(shared, (handlers) => handlers.onEnd?.(error))
  }

  #drop(topic: string): void {
    this.#shared.delete(topic)
    if (this.#shared.size === 0) this.close()
    this.#changed()
  }
}

function tellEvent(follower: Follower, event: EventMessage): void {
  const { handlers, wantsChanges, cursor } = follower
  // It stood further on than others when it came.
  if (cursor !== undefined && isUpTo(event.cursor, cursor)) return
  follower.cursor = event.cursor
  if (wantsChanges) handlers.onChanged?.(0)
  else handlers.onEvent?.(event)
}
