import { assertTopic, CrossfadeError, parseCursor, type Failure } from '@crossfade/protocol'
import { refusalOf, type Access } from '../access/access.ts'
import { TaskLimiter } from '../access/task-limiter.ts'
import type { Identity } from '../identity/principal.ts'
import { RunError } from '../endpoints/verdict.ts'
import { UnusableGroup } from '../endpoints/group.ts'
import type { Skips } from '../endpoints/skips.ts'
import type { PushGate } from '../feed/push-gate.ts'
import type { Hub } from '../topics/hub.ts'
import { topicKey, type TopicAddress } from '../endpoints/topic-address.ts'
import { LogTopic } from '../topics/log-topic.ts'
import { ValueTopic } from '../topics/value-topic.ts'
import { admitTo, type Service } from './admit-to.ts'
import { catchUp, joinLog, joinValue, rejoinValue, type ResumePoint } from './join.ts'
import type { Outlet } from './outlet.ts'
import { Subscription } from './subscription.ts'
import type { TopicCounter } from './topic-counter.ts'

/** What all sessions share. */
export interface SessionPorts {
  readonly hub: Hub
  readonly gate: PushGate
  readonly access: Access
  readonly topics: TopicCounter
  /** Where unexpected errors are reported. */
  readonly report: (error: unknown, context: string) => void
  /** The headers and address with which public topics are loaded. */
  readonly service: Service
  /** Counts work that a client causes: a run of an endpoint for a topic that it has not been granted yet. Throws `too_fast`. */
  readonly charge: (identity: Identity) => void
  /** The time over which all clients spread something that they all have to do, ms. */
  readonly spreadMs: () => number
  readonly skips: Skips
}

/** A `subscribe` message, or one entry of a poll's or stream's `topics`. */
export interface SubscribeRequest extends ResumePoint {
  readonly id?: string | undefined
  readonly topic: string
  readonly mode?: 'events' | 'changes' | undefined
}

const maxJoinsAtOnce = 16

/** One client's subscriptions on one connection, whatever the transport. A failing topic never ends the others (R54). */
export class Session {
  identity: Identity
  readonly subscriptions: Map<string, Subscription> = new Map()
  readonly #ports: SessionPorts
  readonly #outlet: Outlet
  readonly #maxTopics: number
  readonly #onTurnedAway: (() => void) | undefined
  /** Bounds how many endpoints one client's cold topics run at once; one that hangs takes up a single turn. */
  readonly #joins = new TaskLimiter(maxJoinsAtOnce)
  #closed = false

  /** @param onTurnedAway called once the refusals of a frame are sent, when this process cannot push (R62). */
  constructor(ports: SessionPorts, identity: Identity, outlet: Outlet, maxTopics: number, onTurnedAway?: () => void) {
    this.#ports = ports
    this.identity = identity
    this.#outlet = outlet
    this.#maxTopics = maxTopics
    this.#onTurnedAway = onTurnedAway
  }

  /** Subscribes, or sends an `error` message that says why not. Never rejects. A second subscription to a topic replaces the first (R33). */
  async subscribe(request: SubscribeRequest): Promise<void> {
    if (this.#closed) return
    let subscription: Subscription | null = null
    try {
      this.#ports.gate.requireOpen()
      assertTopic(request.topic)
      if (request.cursor !== undefined) parseCursor(request.cursor)
      subscription = this.#claim(request)
      await this.#join(subscription, request)
    } catch (error) {
      if (subscription?.ended) return
      if (subscription) this.#drop(subscription)
      this.refuse(error, request.topic, request.id)
      if (!this.#ports.gate.isOpen && this.#onTurnedAway) setImmediate(this.#onTurnedAway)
    }
  }

  unsubscribe(id: string): void {
    for (const subscription of this.subscriptions.values()) {
      if (subscription.id === id) subscription.end('requested', 'You unsubscribed.')
    }
  }

  /** New credentials of the same principal: subscriptions continue with them, unless they lead to a different answer. */
  renew(identity: Identity): void {
    this.identity = identity
    for (const subscription of this.subscriptions.values()) {
      const { topic } = subscription
      if (topic) this.#ports.access.unwatch(topic.address, subscription)
      subscription.identity = identity
      if (!topic) continue
      if (this.#belongsTo(topic.address, identity)) this.#ports.access.watch(topic.address, subscription)
      else subscription.end('forbidden', notYours(subscription.name))
    }
  }

  /** The connection has drained: value topics that skipped versions send their newest value. */
  drained(): void {
    for (const subscription of this.subscriptions.values()) {
      if (this.#outlet.congested()) return
      const { topic } = subscription
      if (topic instanceof ValueTopic && topic.subscribers.has(subscription)) topic.catchUp(subscription)
    }
  }

  /** An answer goes out: topics whose endpoint has not answered yet do not keep the others waiting (R54). */
  giveUpPending(): void {
    for (const subscription of this.subscriptions.values()) {
      if (subscription.hasBegun) continue
      this.#drop(subscription)
      const message = `The endpoint of "${subscription.name}" has not answered yet. Ask again.`
      this.refuse(new CrossfadeError('overloaded', message), subscription.name, subscription.id)
    }
  }

  /** Ends all subscriptions without telling the client: the connection is gone. */
  close(): void {
    this.#closed = true
    for (const subscription of this.subscriptions.values()) this.#drop(subscription)
  }

  /** Tells the client that a topic or message is refused; the connection stays open. */
  refuse(error: unknown, topic?: string, id?: string): void {
    const { gate } = this.#ports
    const failure = this.failureOf(error, topic)
    this.#outlet.send({
      type: 'error',
      ...failure,
      ...(topic === undefined ? {} : { topic }),
      ...(id === undefined ? {} : { id }),
      ...(failure.code === 'overloaded' && !gate.isOpen ? { retry: gate.retryMs } : {}),
    })
  }

  /** What the client is told about an error. An unexpected one is reported and not shown. */
  failureOf(error: unknown, topic?: string): Failure {
    if (error instanceof UnusableGroup) this.#ports.skips.mistake(error.definition, error.detail)
    if (error instanceof CrossfadeError) return { code: error.code, message: messageOf(error, topic) }
    this.#ports.report(error, `subscription to ${topic ?? 'a topic'}`)
    return { code: 'server_error', message: 'The server failed. Try again later.' }
  }

  #claim(request: SubscribeRequest): Subscription {
    const previous = this.subscriptions.get(request.topic)
    if (previous) this.#drop(previous)
    else if (this.subscriptions.size >= this.#maxTopics) {
      throw new CrossfadeError(
        'too_many_topics',
        `This connection has ${this.#maxTopics} topics, the most it may have. Unsubscribe from one first.`,
      )
    }
    this.#ports.topics.acquire(this.identity)
    const subscription = new Subscription(request, this.identity, this.#outlet, {
      onEnd: (ended) => this.#drop(ended),
      rejoin: (resumed) => void this.#rejoin(resumed),
      spreadMs: this.#ports.spreadMs,
    })
    this.subscriptions.set(request.topic, subscription)
    return subscription
  }

  async #join(subscription: Subscription, request: SubscribeRequest): Promise<void> {
    const { hub, access, charge } = this.#ports
    const address = hub.addressOf(request.topic, subscription.identity)
    const isGranted = access.isGranted(address, subscription.identity)
    if (!isGranted) charge(subscription.identity)
    const topic = await hub.acquire(address)
    try {
      const admit = async (): Promise<void> => {
        // The client may have left while this waited for its turn: then no endpoint runs.
        if (!subscription.ended && !this.#closed) await admitTo(topic, subscription.identity, this.#ports)
      }
      // What is known already, or being asked for anyway, waits behind no endpoint that hangs.
      const isUnderWay = topic instanceof ValueTopic && topic.isLoading
      await (isGranted || isUnderWay ? admit() : this.#joins.run(admit))
      if (subscription.ended || this.#closed) return
      // The credentials may have been renewed meanwhile.
      if (!this.#belongsTo(topic.address, subscription.identity))
        throw new CrossfadeError('forbidden', notYours(request.topic))
      subscription.topic = topic
      // Before it gets anything: a revocation while it catches up must reach it, too.
      access.watch(topic.address, subscription)
      if (topic instanceof ValueTopic) await joinValue(subscription, topic, request, hub.broker, this.#outlet)
      else if (topic instanceof LogTopic) await joinLog(subscription, topic, request, hub.broker, this.#outlet)
    } finally {
      topic.release()
      hub.discard(topic)
    }
  }

  async #rejoin(subscription: Subscription): Promise<void> {
    const { topic } = subscription
    try {
      if (topic instanceof ValueTopic) await rejoinValue(subscription, topic)
      else if (topic instanceof LogTopic) await catchUp(subscription, topic, this.#ports.hub.broker, this.#outlet)
    } catch (error) {
      if (subscription.ended) return
      this.#drop(subscription)
      this.refuse(error, subscription.name, subscription.id)
    }
  }

  #belongsTo(address: TopicAddress, identity: Identity): boolean {
    try {
      return topicKey(address.definition, address.name, identity) === address.key
    } catch (error) {
      if (!(error instanceof UnusableGroup)) throw error
      this.#ports.skips.mistake(error.definition, error.detail)
      return false
    }
  }

  #drop(subscription: Subscription): void {
    if (subscription.ended) return
    subscription.close()
    this.#ports.topics.release(subscription.identity)
    if (this.subscriptions.get(subscription.name) === subscription) this.subscriptions.delete(subscription.name)
    const { topic } = subscription
    if (topic === null) return
    topic.detach(subscription)
    this.#ports.access.unwatch(topic.address, subscription)
  }
}

/** The endpoint's status would reveal whether the thing exists. */
function messageOf(error: CrossfadeError, topic: string | undefined): string {
  return error instanceof RunError && error.code === 'forbidden' && topic !== undefined
    ? refusalOf(topic)
    : error.message
}

/** Whether these credentials lead to this same answer: the answer for another group, or in another language, has another address. */
function notYours(name: string): string {
  return `With your new credentials "${name}" has another answer. Subscribe again.`
}
