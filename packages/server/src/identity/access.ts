import { CrossfadeError } from '@crossfade/protocol'
import { urlOfTopic } from '../topics/definition.ts'
import type { EndpointRunner } from '../topics/endpoint-runner.ts'
import type { TopicPlace } from '../topics/live-topic.ts'
import type { Subscriber } from '../topics/subscriber.ts'
import type { Identity } from './principal.ts'

/** Times of {@link Access}. */
export interface AccessOptions {
  /** How long an answer to "may these credentials see this topic" is kept, ms (R52). Default 30 s. */
  grantMs: number
  /** How often a living subscription is checked again, ms (R14). Default 60 s. */
  recheckMs: number
}

interface Watch {
  readonly place: TopicPlace
  readonly identity: Identity
  readonly subscribers: Set<Subscriber>
  dueAt: number
}

const tickMs = 1_000

/**
 * Decides who may subscribe to what: whoever the endpoint itself answers with 2xx, or the route's `authorize` (R14, R52). Asks once
 * for all subscriptions of the same credentials to the same topic, again at intervals, and at once on revocation.
 */
export class Access {
  readonly #runner: EndpointRunner
  readonly #options: AccessOptions
  readonly #grants = new Map<string, number>()
  readonly #watches = new Map<string, Watch>()
  readonly #timer: NodeJS.Timeout

  constructor(runner: EndpointRunner, options: AccessOptions) {
    this.#runner = runner
    this.#options = options
    this.#timer = setInterval(() => this.#tick(), tickMs)
    this.#timer.unref()
  }

  /** @throws CrossfadeError `forbidden`, `unauthenticated`, or `server_error` when the endpoint failed otherwise. */
  async check(place: TopicPlace, identity: Identity): Promise<void> {
    if (place.definition.isPublicLog) return
    if ((this.#grants.get(grantKey(place, identity)) ?? 0) > performance.now()) return
    await this.#ask(place, identity)
    this.granted(place, identity)
  }

  /** Notes that the endpoint answered these credentials with 2xx. */
  granted(place: TopicPlace, identity: Identity): void {
    this.#grants.set(grantKey(place, identity), performance.now() + this.#options.grantMs)
  }

  /** The endpoint refused these credentials: whoever listens with them is checked now. */
  refused(place: TopicPlace, identity: Identity): void {
    const key = grantKey(place, identity)
    this.#grants.delete(key)
    const watch = this.#watches.get(key)
    if (watch) void this.#recheck(watch)
  }

  /** Checks everything of a principal again, now (D10). */
  async revoke(principalId: string): Promise<void> {
    const checks: Promise<void>[] = []
    for (const [key, watch] of this.#watches) {
      if (watch.identity.principal?.id !== principalId) continue
      this.#grants.delete(key)
      checks.push(this.#recheck(watch))
    }
    await Promise.all(checks)
  }

  /** Keeps checking a living subscription. */
  watch(place: TopicPlace, subscriber: Subscriber): void {
    if (place.definition.isPublicLog) return
    const { identity } = subscriber
    const key = grantKey(place, identity)
    const watch = this.#watches.get(key) ?? {
      place,
      identity,
      subscribers: new Set(),
      dueAt: performance.now() + this.#options.recheckMs,
    }
    watch.subscribers.add(subscriber)
    this.#watches.set(key, watch)
  }

  unwatch(place: TopicPlace, subscriber: Subscriber): void {
    const key = grantKey(place, subscriber.identity)
    const watch = this.#watches.get(key)
    if (!watch) return
    watch.subscribers.delete(subscriber)
    if (watch.subscribers.size === 0) this.#watches.delete(key)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  async #ask(place: TopicPlace, identity: Identity): Promise<void> {
    const { definition, params, name } = place
    const allowed = definition.authorize
      ? await definition.authorize({ principal: identity.principal, params, topic: name })
      : (await this.#runner.run(urlOfTopic(definition, params, name), identity.headers)).topicKey === place.key
    if (!allowed) throw new CrossfadeError('forbidden', `The topic "${name}" is not yours to read, or does not exist.`)
  }

  async #recheck(watch: Watch): Promise<void> {
    watch.dueAt = performance.now() + this.#options.recheckMs
    try {
      await this.#ask(watch.place, watch.identity)
      this.granted(watch.place, watch.identity)
    } catch (error) {
      if (!(error instanceof CrossfadeError) || error.code === 'server_error') return
      for (const subscriber of watch.subscribers) subscriber.end('forbidden', error.message)
    }
  }

  #tick(): void {
    const now = performance.now()
    for (const [key, until] of this.#grants) if (until <= now) this.#grants.delete(key)
    for (const watch of this.#watches.values()) if (watch.dueAt <= now) void this.#recheck(watch)
  }
}

function grantKey(place: TopicPlace, identity: Identity): string {
  return `${identity.key}\n${place.key}`
}
