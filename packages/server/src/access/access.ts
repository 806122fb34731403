import { CrossfadeError } from '@crossfade/protocol'
import type { EndpointRunner } from '../endpoints/endpoint-runner.ts'
import { urlOfTopic, type TopicAddress } from '../endpoints/topic-address.ts'
import type { Subscriber } from '../delivery/subscriber.ts'
import { hasExpired, type Identity } from '../identity/principal.ts'

/** Times of {@link Access}. */
export interface AccessOptions {
  /** How long an answer to "may these credentials see this topic" is kept, ms (R52). Default 30 s. */
  grantMs: number
  /** How often a living subscription is checked again, ms (R14). Default 60 s. */
  recheckMs: number
}

interface Watch {
  readonly address: TopicAddress
  readonly identity: Identity
  readonly subscribers: Set<Subscriber>
  dueAt: number
}

interface Grant {
  readonly principalId: string | null
  readonly until: number
}

interface Asking {
  readonly since: number
  readonly answer: Promise<{ since: number }>
}

const tickMs = 1_000
/** No run of an endpoint that began before a revocation ends later than this after it. */
const revocationMs = 600_000

/**
 * Decides who may subscribe to what: whoever the endpoint itself answers with 2xx, or the route's `authorize` (R14, R52). Asks once
 * for all subscriptions of the same credentials to the same topic, again at intervals, and at once on revocation.
 */
export class Access {
  readonly #runner: EndpointRunner
  readonly #options: AccessOptions
  readonly #grants = new Map<string, Grant>()
  /** The last revocation of each principal, by its number. */
  readonly #revoked = new Map<string, { number: number; at: number }>()
  #revocations = 0
  readonly #asking = new Map<string, Asking>()
  readonly #watches = new Map<string, Watch>()
  readonly #timer: NodeJS.Timeout

  constructor(runner: EndpointRunner, options: AccessOptions) {
    this.#runner = runner
    this.#options = options
    this.#timer = setInterval(() => this.#tick(), tickMs)
    this.#timer.unref()
  }

  /** @throws CrossfadeError `forbidden`, `unauthenticated`, or `server_error` when the endpoint failed otherwise. */
  async check(address: TopicAddress, identity: Identity): Promise<void> {
    if (address.definition.isPublicLog) return
    if (this.#isGranted(address, identity)) return
    let answer: { since: number }
    do {
      answer = await this.#askOnce(address, identity)
    } while (!this.granted(address, identity, answer.since))
  }

  /** A moment in the order of revocations, to be taken before an endpoint runs and given to {@link granted} after it. */
  moment(): number {
    return this.#revocations
  }

  /**
   * Notes that the endpoint answered these credentials with 2xx.
   *
   * @param since the {@link moment} at which it began.
   * @returns false when the principal was revoked meanwhile: the answer proves nothing.
   */
  granted(address: TopicAddress, identity: Identity, since: number): boolean {
    const principalId = identity.principal?.id ?? null
    if (principalId !== null && (this.#revoked.get(principalId)?.number ?? 0) > since) return false
    this.#grants.set(grantKey(address, identity), { principalId, until: performance.now() + this.#options.grantMs })
    return true
  }

  /** The endpoint refused these credentials: whoever listens with them is checked now. */
  refused(address: TopicAddress, identity: Identity): void {
    const key = grantKey(address, identity)
    this.#grants.delete(key)
    const watch = this.#watches.get(key)
    // Credentials that ran out are refused, of course: their connections have their grace (R53).
    if (watch && !hasExpired(identity)) void this.#recheck(watch)
  }

  /** Checks everything of a principal again, now (D10). What was granted or is being asked for it counts no more. */
  async revoke(principalId: string): Promise<void> {
    this.#revoked.set(principalId, { number: (this.#revocations += 1), at: performance.now() })
    for (const [key, grant] of this.#grants) if (grant.principalId === principalId) this.#grants.delete(key)
    const watches = [...this.#watches.values()].filter((watch) => watch.identity.principal?.id === principalId)
    await Promise.all(watches.map((watch) => this.#recheck(watch)))
  }

  /** Keeps checking a living subscription; at once, when its credentials are new or were revoked while it joined. */
  watch(address: TopicAddress, subscriber: Subscriber): void {
    if (address.definition.isPublicLog) return
    const { identity } = subscriber
    const key = grantKey(address, identity)
    const watch = this.#watches.get(key) ?? {
      address,
      identity,
      subscribers: new Set(),
      dueAt: performance.now() + this.#options.recheckMs,
    }
    watch.subscribers.add(subscriber)
    this.#watches.set(key, watch)
    if (!this.#isGranted(address, identity)) void this.#recheck(watch)
  }

  unwatch(address: TopicAddress, subscriber: Subscriber): void {
    const key = grantKey(address, subscriber.identity)
    const watch = this.#watches.get(key)
    if (!watch) return
    watch.subscribers.delete(subscriber)
    if (watch.subscribers.size === 0) this.#watches.delete(key)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** Those who ask the same while the endpoint is being asked share its answer, unless a revocation came between. */
  #askOnce(address: TopicAddress, identity: Identity): Promise<{ since: number }> {
    const key = grantKey(address, identity)
    const since = this.moment()
    const underWay = this.#asking.get(key)
    if (underWay?.since === since) return underWay.answer
    const answer = this.#ask(address, identity).then(() => ({ since }))
    const asking = { since, answer }
    this.#asking.set(key, asking)
    void this.#forgetWhenDone(key, asking)
    return answer
  }

  async #forgetWhenDone(key: string, asking: Asking): Promise<void> {
    await asking.answer.catch(() => {})
    if (this.#asking.get(key) === asking) this.#asking.delete(key)
  }

  async #ask(address: TopicAddress, identity: Identity): Promise<void> {
    const { definition, params, name } = address
    const allowed = definition.authorize
      ? await definition.authorize({ principal: identity.principal, params, topic: name })
      : (await this.#runner.run(urlOfTopic(address), identity.headers)).topicKey === address.key
    if (!allowed) throw new CrossfadeError('forbidden', refusalOf(name))
  }

  async #recheck(watch: Watch): Promise<void> {
    const { address, identity } = watch
    watch.dueAt = performance.now() + this.#options.recheckMs
    const since = this.moment()
    try {
      await this.#ask(address, identity)
      // Revoked again meanwhile: that revocation checks by itself.
      this.granted(address, identity, since)
    } catch (error) {
      if (!(error instanceof CrossfadeError) || error.code === 'server_error') {
        // The endpoint could not tell. Without a grant that still counts, it is asked again soon.
        if (!this.#isGranted(address, identity)) watch.dueAt = Math.min(watch.dueAt, performance.now() + tickMs)
        return
      }
      for (const subscriber of watch.subscribers) subscriber.end('forbidden', refusalOf(address.name))
    }
  }

  #tick(): void {
    const now = performance.now()
    for (const [key, { until }] of this.#grants) if (until <= now) this.#grants.delete(key)
    for (const [id, { at }] of this.#revoked) if (now - at > revocationMs) this.#revoked.delete(id)
    for (const watch of this.#watches.values()) {
      if (watch.dueAt <= now && !hasExpired(watch.identity)) void this.#recheck(watch)
    }
  }

  #isGranted(address: TopicAddress, identity: Identity): boolean {
    return (this.#grants.get(grantKey(address, identity))?.until ?? 0) > performance.now()
  }
}

/** What is not yours and what is not there are told alike (R52). */
export function refusalOf(topic: string): string {
  return `The topic "${topic}" is not yours to read, or does not exist.`
}

function grantKey(address: TopicAddress, identity: Identity): string {
  return `${identity.key}\n${address.key}`
}
