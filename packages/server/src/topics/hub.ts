import { CrossfadeError, topicQuery } from '@crossfade/protocol'
import type { Broker } from '../brokers/broker.ts'
import type { SharedValue } from '../access/permission.ts'
import type { Identity } from '../identity/principal.ts'
import type { Staleness } from '../delivery/staleness.ts'
import type { TopicDefinition } from '../endpoints/definition.ts'
import { topicKey, varyHeaders, type TopicAddress } from '../endpoints/topic-address.ts'
import type { LiveTopic } from './live-topic.ts'
import { LogTopic } from './log-topic.ts'
import type { TopicRegistry } from '../endpoints/registry.ts'
import { Sharing } from './sharing.ts'
import { ValueTopic, type ValueTopicPorts } from './value-topic.ts'

const maxSweepMs = 5_000
const minSweepMs = 10

/** What the hub needs from outside. */
export interface HubPorts extends ValueTopicPorts {
  /** A topic is no longer shared, because its answers differ between clients that should share them. */
  sharingEnded(address: TopicAddress): void
  /** A topic changes too fast to see whether its answers differ. */
  notCompared(address: TopicAddress): void
}

/** A live topic whose newest value cannot be loaded. */
export interface FailingTopic extends Staleness {
  readonly topic: string
}

/** The topics that are in use on this server, by broker key; cold ones cost nothing (DESIGN §3.2). */
export class Hub {
  readonly broker: Broker
  readonly #registry: TopicRegistry
  readonly #ports: HubPorts
  readonly #sharing: Sharing
  readonly #warmMs: number
  readonly #maxWarm: number
  #openedSinceBound = 0
  readonly #live = new Map<string, LiveTopic>()
  readonly #opening = new Map<string, Promise<LiveTopic>>()
  /** Live topics by definition and by the path part of their name: the index in which changes are looked up. */
  readonly #byPath = new Map<TopicDefinition, Map<string, Set<LiveTopic>>>()
  readonly #sweeper: NodeJS.Timeout

  /**
   * @param warmMs how long a topic without subscribers stays live after its last use, ms.
   * @param maxWarm how many of these there may be.
   */
  constructor(registry: TopicRegistry, ports: HubPorts, warmMs: number, maxWarm: number) {
    this.broker = ports.broker
    this.#registry = registry
    this.#ports = ports
    this.#warmMs = warmMs
    this.#maxWarm = maxWarm
    this.#sharing = new Sharing((address) => ports.sharingEnded(address))
    this.#sweeper = setInterval(() => this.#sweep(), Math.min(maxSweepMs, Math.max(minSweepMs, warmMs / 4)))
    this.#sweeper.unref()
  }

  /**
   * The topic with this name as this client sees it: its definition, and its key in the broker.
   *
   * @throws CrossfadeError `unknown_topic` when no pattern matches, `unauthenticated` when the topic needs a principal and there is none.
   */
  addressOf(name: string, identity: Identity): TopicAddress {
    const resolved = this.#registry.resolve(name)
    if (resolved === null) {
      throw new CrossfadeError(
        'unknown_topic',
        `No topic matches "${name}". A topic is the path of a wrapped endpoint as its route declares it, such as "orders/42".`,
      )
    }
    const foreign = Object.keys(topicQuery(name)).find((parameter) => !resolved.definition.query.has(parameter))
    if (foreign !== undefined)
      throw new CrossfadeError(
        'invalid_topic',
        `The topic "${name}" has the query parameter "${foreign}", which its route does not declare. Leave it out, or list it under query.`,
      )
    const key = topicKey(resolved.definition, name, identity)
    if (key === null)
      throw new CrossfadeError(
        'unauthenticated',
        `The topic "${name}" belongs to a principal. Send a token or a cookie.`,
      )
    return { ...resolved, name, key, headers: varyHeaders(resolved.definition, identity) }
  }

  /** The live topic at an address, opened if it was cold, and retained: it stays live until `release`. */
  async acquire(address: TopicAddress): Promise<LiveTopic> {
    for (;;) {
      const topic = await this.#acquire(address)
      // A client whose load failed may have dropped it between two microtasks.
      if (this.#live.get(address.key) !== topic) continue
      topic.retain()
      return topic
    }
  }

  async #acquire(address: TopicAddress): Promise<LiveTopic> {
    const live = this.#live.get(address.key)
    if (live) return live
    let opening = this.#opening.get(address.key)
    if (!opening) {
      opening = this.#open(address).finally(() => this.#opening.delete(address.key))
      this.#opening.set(address.key, opening)
    }
    return opening
  }

  /** The answers at this address differ between clients that should share them: it is no longer pushed to anybody. */
  isUnshared(address: TopicAddress): boolean {
    return this.#sharing.isEnded(address)
  }

  /** What a client's own answer is compared with; `null` when there is nothing to compare with. */
  sharedValue(address: TopicAddress): SharedValue | null {
    const topic = this.#live.get(address.key)
    return topic instanceof ValueTopic && address.definition.audience !== 'principal'
      ? this.#sharing.valueOf(topic)
      : null
  }

  notCompared(address: TopicAddress): void {
    this.#ports.notCompared(address)
  }

  /** Whether a grant is enough to share a group's value: the client's own answer has matched this topic's. */
  getsSharedValue(address: TopicAddress, identity: Identity): boolean {
    const { audience, authorize, kind } = address.definition
    if (typeof audience === 'string' || kind === 'log' || authorize !== null) return true
    const topic = this.#live.get(address.key)
    return topic instanceof ValueTopic && topic.sharers.has(identity)
  }

  /** Topics whose newest value cannot be loaded, the first `max` of them. */
  failing(max: number): FailingTopic[] {
    const failing: FailingTopic[] = []
    for (const topic of this.#live.values()) {
      if (topic.staleness !== null) failing.push({ topic: topic.address.name, ...topic.staleness })
      if (failing.length === max) break
    }
    return failing
  }

  /** Forgets a topic that is not needed and has no value: its endpoint refused (a failed load creates no topic). */
  discard(topic: LiveTopic): void {
    if (topic.needed || topic.address.definition.kind === 'log' || topic.state.snapshot !== null) return
    this.#drop(topic)
  }

  /** Live topics that the parameters of a change match; a definition's parameter that is not among them matches all. */
  *matching(definition: TopicDefinition, params: Readonly<Record<string, string>> | 'all'): Iterable<LiveTopic> {
    const paths = this.#byPath.get(definition)
    if (!paths) return
    if (params !== 'all' && definition.pattern.params.every((name) => name in params)) {
      yield* paths.get(pathFor(definition, params)) ?? []
      return
    }
    for (const topics of paths.values()) {
      for (const topic of topics) {
        if (params === 'all' || Object.entries(params).every(([name, value]) => topic.address.params[name] === value))
          yield topic
      }
    }
  }

  get size(): number {
    return this.#live.size
  }

  close(): void {
    clearInterval(this.#sweeper)
    for (const topic of this.#live.values()) topic.close()
    this.#live.clear()
    this.#byPath.clear()
  }

  async #open(address: TopicAddress): Promise<LiveTopic> {
    const { kind } = address.definition
    const topic = kind === 'value' ? new ValueTopic(address, this.#ports) : new LogTopic(address, this.#ports.cycle)
    topic.opened(await this.broker.open(address.key, kind, topic.listener()))
    this.#live.set(address.key, topic)
    this.#sameName(address).add(topic)
    this.#bound(topic)
    return topic
  }

  #sameName(address: TopicAddress): Set<LiveTopic> {
    const paths = this.#byPath.get(address.definition) ?? new Map<string, Set<LiveTopic>>()
    this.#byPath.set(address.definition, paths)
    const path = pathOf(address.name)
    const topics = paths.get(path) ?? new Set()
    paths.set(path, topics)
    return topics
  }

  #sweep(): void {
    const now = performance.now()
    for (const topic of this.#live.values()) {
      if (topic.isCold(now, this.#warmMs)) this.#drop(topic)
    }
  }

  /** Made-up names must not fill the memory before they go cold. */
  #bound(opened: LiveTopic): void {
    const half = this.#maxWarm / 2
    if ((this.#openedSinceBound += 1) < half) return
    this.#openedSinceBound = 0
    const warm = [...this.#live.values()].filter((topic) => !topic.needed && topic !== opened)
    const tooMany = Math.max(0, Math.ceil(warm.length - half))
    for (const topic of warm.toSorted((a, b) => a.usedAt - b.usedAt).slice(0, tooMany)) this.#drop(topic)
  }

  #drop(topic: LiveTopic): void {
    const { key, definition, name } = topic.address
    if (this.#live.get(key) !== topic) return
    this.#live.delete(key)
    const paths = this.#byPath.get(definition)
    const topics = paths?.get(pathOf(name))
    topics?.delete(topic)
    if (topics?.size === 0) paths?.delete(pathOf(name))
    topic.close()
  }
}

/** The name for these parameters; an impossible name is in no map. */
function pathFor(definition: TopicDefinition, params: Readonly<Record<string, string>>): string {
  try {
    return definition.pattern.expand(params)
  } catch {
    return ''
  }
}

function pathOf(name: string): string {
  const query = name.indexOf('?')
  return query === -1 ? name : name.slice(0, query)
}
