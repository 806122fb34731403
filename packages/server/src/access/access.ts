import { setTimeout as pause } from 'node:timers/promises'
import type { EndpointRunner, RunAs } from '../endpoints/endpoint-runner.ts'
import type { TopicDefinition } from '../endpoints/definition.ts'
import type { TopicAddress } from '../endpoints/topic-address.ts'
import { maxRetryAfterMs } from '../endpoints/verdict.ts'
import type { EndCode, Supervised } from '../delivery/subscriber.ts'
import { hasExpired, type Identity } from '../identity/principal.ts'
import { AddressGuard } from './address-guard.ts'
import { grantKey, Grants, isWithoutCredentials, principalIdOf } from './grants.ts'
import { askPermission, requireGranted, type Permission, type SharedValues } from './permission.ts'
import { TaskLimiter } from './task-limiter.ts'

/** What {@link Access} needs from outside. */
export interface AccessPorts {
  readonly runner: EndpointRunner
  readonly shared: SharedValues
  /** The endpoint refused a check by these credentials. */
  refused(address: TopicAddress, identity: Identity): void
}

/** Times and bounds of {@link Access}. */
export interface AccessOptions {
  /** How long an answer to "may these credentials see this topic" is kept, ms (R52). Default 30 s. */
  grantMs: number
  /** How often a living subscription is checked again, ms, ± 20 % (R14). Default 60 s. */
  recheckMs: number
  /** How many of these checks run at once. Default 8. */
  maxRechecks: number
}

/** Living subscriptions of the same credentials to the same topic: one check serves them all. */
interface Watch {
  readonly key: string
  readonly address: TopicAddress
  readonly identity: Identity
  readonly subscribers: Set<Supervised>
  /** When it is checked next, by `performance.now()`; `Infinity` while it is. */
  dueAt: number
  /** Checks in a row that gave no verdict. */
  failures: number
}

interface Asking {
  readonly seq: number
  readonly permission: Promise<Permission>
}

const tickMs = 250
/** Checks after a revocation do not queue behind the periodic ones. */
const maxRevocationChecks = 32
/** How long the application waits for the checks after a revocation, ms. */
const revokeMs = 1_000
/** A client is told that events are withheld when the check takes longer than this, ms. */
const tellSuspendedMs = 250
const retryCapMs = 10_000
/** When a check is due again that gave way to another of its route, which hangs, ms. */
const hangingMs = 1_000

/**
 * Decides who may subscribe to what: those whom the endpoint itself answers with 2xx, or the route's `authorize` admits (R14, R52). Asks once
 * for all subscriptions of the same credentials to the same topic, again at intervals, and immediately on revocation.
 *
 * An endpoint that cannot tell (see `Verdict`) ends no subscription; after a revocation it does not count as permission either, and the
 * subscription is suspended until the endpoint has answered.
 */
export class Access {
  readonly #ports: AccessPorts
  readonly #options: AccessOptions
  readonly #grants: Grants
  readonly #asking = new Map<string, Asking>()
  readonly #watches = new Map<string, Watch>()
  readonly #rechecks: TaskLimiter
  readonly #revocationChecks = new TaskLimiter(maxRevocationChecks)
  readonly #addressGuard: AddressGuard
  /** Routes that did not answer a check in time; they are asked one at a time until they do. */
  readonly #hanging = new Set<TopicDefinition>()
  /** How many of a route's checks are in their turn. */
  readonly #inTurn = new Map<TopicDefinition, number>()
  /** Public topics whose load was refused, of which their clients were checked since. */
  readonly #refusedToRun = new WeakSet<TopicAddress>()
  readonly #timer: NodeJS.Timeout

  constructor(ports: AccessPorts, options: AccessOptions) {
    this.#ports = ports
    this.#options = options
    this.#grants = new Grants(options.grantMs)
    this.#rechecks = new TaskLimiter(options.maxRechecks)
    this.#addressGuard = new AddressGuard(ports.runner)
    this.#timer = setInterval(() => this.#tick(), tickMs)
    this.#timer.unref()
  }

  /** Whether a check would cost nothing: anybody may read the topic, or the answer is known. */
  isGranted(address: TopicAddress, identity: Identity): boolean {
    if (address.definition.isPublicLog) return true
    return this.#grants.has(address, identity) && this.#ports.shared.getsSharedValue(address, identity)
  }

  /** @throws RunError `forbidden`, `unauthenticated`; `server_error` or `overloaded` when the endpoint gave no verdict. */
  async check(address: TopicAddress, identity: Identity): Promise<void> {
    if (this.isGranted(address, identity)) return
    if (this.#grants.wasOpen(address, identity)) await this.#openToAll(address)
    for (;;) {
      if (this.isGranted(address, identity)) return
      const { seq, permission } = this.#askOnce(address, identity)
      requireGranted(await permission)
      if (this.granted(address, identity, seq)) return
    }
  }

  /** The number of revocations so far: read it before an endpoint runs, and pass it to {@link granted} afterwards. */
  revocationSeq(): number {
    return this.#grants.revocationSeq()
  }

  /**
   * The endpoint answered these credentials with 2xx: that renews the grant, and living subscriptions are not checked for a while.
   *
   * @param seq the {@link revocationSeq} at which it began.
   * @returns false when the principal was revoked meanwhile: the answer proves nothing.
   */
  granted(address: TopicAddress, identity: Identity, seq: number): boolean {
    if (!this.#grants.grant(address, identity, seq)) return false
    const watch = this.#watches.get(grantKey(address, identity))
    // Where a group shares a value, permission to read the endpoint does not prove that these credentials get this very value.
    if (watch && this.#ports.shared.getsSharedValue(address, identity)) this.#confirm(watch)
    return true
  }

  /** The load of a public topic, as this, was answered 2xx. */
  grantedToRun(address: TopicAddress, as: RunAs): void {
    this.#refusedToRun.delete(address)
    this.#answered(address, as)
  }

  /** A run without any credentials that was answered 2xx is an answer to everybody, where the route is public and no address is preferred. */
  #answered(address: TopicAddress, { headers, ip }: RunAs): void {
    const { definition } = address
    if (definition.audience !== 'public' || definition.authorize !== null) return
    if (!isWithoutCredentials(address, headers)) return
    if (ip === null) this.#grants.grantEverybody(address)
    else this.#grants.answeredNobody(address)
  }

  /** It was answered to no credentials before: is that so for all network addresses, and still? */
  async #openToAll(address: TopicAddress): Promise<void> {
    if (!this.#grants.isOpenNow(address)) return this.#askForAll(address)
    const isOpen = await this.#addressGuard.isOpen(address)
    // The load may have been refused meanwhile.
    if (isOpen && this.#grants.isOpenNow(address)) this.#grants.grantEverybody(address)
  }

  /** The endpoint refused these credentials: subscriptions that use them are checked now. */
  refused(address: TopicAddress, identity: Identity): void {
    this.#grants.withdraw(address, identity)
    const watch = this.#watches.get(grantKey(address, identity))
    // Expired credentials are refused, of course: their connections have a grace period (R53).
    if (watch && !hasExpired(identity)) void this.#recheck(watch)
  }

  /** The load of a public topic was refused: from now on the endpoint has to grant each client's own credentials. */
  refusedToRun(address: TopicAddress): void {
    this.#grants.withdrawEverybody(address)
    // A load that fails is tried again and again; its clients are not.
    if (this.#refusedToRun.has(address)) return
    this.#refusedToRun.add(address)
    for (const watch of this.#watches.values()) {
      if (watch.address.key !== address.key) continue
      this.#grants.withdraw(address, watch.identity)
      // These checks may be spread out: no newer value arrives before the endpoint answers again.
      watch.dueAt = Math.min(watch.dueAt, performance.now())
    }
  }

  /**
   * Checks all subscriptions of a principal again, now. Earlier grants and checks that are under way no longer count, and nothing is sent
   * until the endpoint has answered. Resolves when each subscription has been checked once, or after a second: nobody who logs out waits
   * for an endpoint that hangs.
   */
  async revoke(id: unknown): Promise<void> {
    const principalId = String(id)
    this.#grants.revoke(principalId)
    const watches = [...this.#watches.values()].filter((watch) => principalIdOf(watch.identity) === principalId)
    for (const watch of watches) for (const subscriber of watch.subscribers) subscriber.suspend()
    const timer = setTimeout(() => {
      for (const watch of watches) for (const subscriber of watch.subscribers) subscriber.tellSuspended()
    }, tellSuspendedMs)
    const checks = watches.map((watch) => this.#revocationChecks.run(() => this.#recheck(watch)))
    const checked = Promise.all(checks).finally(() => clearTimeout(timer))
    await Promise.race([checked, pause(revokeMs, undefined, { ref: false })])
  }

  /** Whether the principal was revoked after `seq`, a {@link revocationSeq}: what the application found before that no longer counts. */
  wasRevoked(identity: Identity, seq: number): boolean {
    return this.#grants.wasRevoked(identity, seq)
  }

  /** Keeps checking a subscription, from before it joins; immediately, if its credentials are new. */
  watch(address: TopicAddress, subscriber: Supervised): void {
    if (address.definition.isPublicLog) return
    const { identity } = subscriber
    const key = grantKey(address, identity)
    const watch = this.#watches.get(key) ?? {
      key,
      address,
      identity,
      subscribers: new Set(),
      dueAt: this.#nextDueAt(),
      failures: 0,
    }
    watch.subscribers.add(subscriber)
    this.#watches.set(key, watch)
    if (this.isGranted(address, identity)) {
      subscriber.resume()
      return
    }
    // Revoked after it was admitted, or before it had these new credentials: the endpoint has not judged them yet.
    const isRevoked = this.#grants.isRevoked(identity)
    if (isRevoked) subscriber.suspend()
    watch.dueAt = Infinity
    // In turn: a client that renews its credentials again and again has all its topics checked each time.
    void (isRevoked ? this.#revocationChecks : this.#rechecks).run(() => this.#recheckIfLiving(watch))
  }

  /** Ends every subscription to this answer, also those that are joining or suspended. */
  endAll({ key }: TopicAddress, code: EndCode, message: string): void {
    for (const watch of this.#watches.values()) {
      if (watch.address.key === key) for (const subscriber of watch.subscribers) subscriber.end(code, message)
    }
  }

  unwatch(address: TopicAddress, subscriber: Supervised): void {
    const key = grantKey(address, subscriber.identity)
    const watch = this.#watches.get(key)
    if (!watch) return
    watch.subscribers.delete(subscriber)
    if (watch.subscribers.size === 0) this.#watches.delete(key)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** Identical questions share one run of the endpoint while it is under way, unless a revocation came between. */
  #askOnce(address: TopicAddress, identity: Identity): Asking {
    const key = grantKey(address, identity)
    const seq = this.revocationSeq()
    const underWay = this.#asking.get(key)
    if (underWay?.seq === seq) return underWay
    const asking = { seq, permission: this.#ask(address, identity) }
    this.#asking.set(key, asking)
    void this.#forgetWhenDone(key, asking)
    return asking
  }

  /** Readers that come and go, as with polls, are not checked one by one: one run without credentials speaks for all of them. */
  async #askForAll(address: TopicAddress): Promise<void> {
    const nobody = { principal: null, headers: address.headers, key: 'nobody', ip: null }
    const { kind } = await this.#askOnce(address, nobody).permission
    if (kind === 'refused' || kind === 'gone') this.#grants.withdrawEverybody(address)
  }

  async #forgetWhenDone(key: string, asking: Asking): Promise<void> {
    await asking.permission
    if (this.#asking.get(key) === asking) this.#asking.delete(key)
  }

  async #ask(address: TopicAddress, identity: Identity): Promise<Permission> {
    const permission = await askPermission(address, identity, this.#ports)
    if (permission.kind === 'granted') this.#answered(address, identity)
    else if (permission.kind !== 'unknown') {
      this.#grants.withdraw(address, identity)
      this.#ports.refused(address, identity)
    }
    return permission
  }

  async #recheck(watch: Watch): Promise<void> {
    const { address, identity } = watch
    watch.dueAt = Infinity
    const { seq, permission } = this.#askOnce(address, identity)
    const answer = await permission
    if (answer.kind === 'unknown' && answer.status === 0) this.#hanging.add(address.definition)
    else this.#hanging.delete(address.definition)
    if (answer.kind === 'refused' || answer.kind === 'gone') {
      for (const subscriber of watch.subscribers) subscriber.end('forbidden', refusalOf(address.name))
      return
    }
    // Revoked again meanwhile: that revocation runs its own check.
    if (answer.kind === 'granted' && !this.granted(address, identity, seq)) return
    if (watch.dueAt !== Infinity) return
    watch.failures += 1
    watch.dueAt = performance.now() + retryMs(watch.failures, answer.kind === 'unknown' ? answer.retryAfterMs : null)
    for (const subscriber of watch.subscribers) subscriber.tellSuspended()
  }

  #confirm(watch: Watch): void {
    watch.dueAt = this.#nextDueAt()
    watch.failures = 0
    for (const subscriber of watch.subscribers) subscriber.resume()
  }

  /** Jittered, so that clients that arrived together are not checked together. */
  #nextDueAt(): number {
    return performance.now() + this.#options.recheckMs * (0.8 + 0.4 * Math.random())
  }

  #tick(): void {
    const now = performance.now()
    for (const watch of this.#watches.values()) {
      const { address, identity } = watch
      if (isPublicValue(address) && this.#grants.hasEverybody(address)) {
        // Each new value of a live public topic comes from a run without credentials, which proves that everybody may read it.
        this.#grants.grantEverybody(address)
        if (this.#grants.countsAsEverybody(identity)) {
          if (watch.dueAt <= now) watch.dueAt = this.#nextDueAt()
          continue
        }
      }
      if (watch.dueAt > now || hasExpired(identity)) continue
      watch.dueAt = Infinity
      void this.#rechecks.run(() => this.#recheckIfLiving(watch))
    }
    this.#grants.sweep()
  }

  /**
   * Each new value of a live public topic comes from a run without credentials. Where the route prefers no network address that proves by
   * itself that its clients may read it.
   */
  async #isProvedByLoads(watch: Watch): Promise<boolean> {
    const { address, identity } = watch
    if (!isPublicValue(address) || !this.#grants.wasOpen(address, identity)) return false
    if (!(await this.#addressGuard.isOpen(address)) || !this.#grants.wasOpen(address, identity)) return false
    this.#grants.grantEverybody(address)
    this.#confirm(watch)
    return true
  }

  /** It may have waited a long time for its turn. A route that hangs takes one turn, and leaves the others to those that answer (R54). */
  async #recheckIfLiving(watch: Watch): Promise<void> {
    if (this.#watches.get(watch.key) !== watch) return
    const { definition } = watch.address
    if (await this.#isProvedByLoads(watch)) return
    const inTurn = this.#inTurn.get(definition) ?? 0
    if (inTurn > 0 && this.#hanging.has(definition)) {
      watch.dueAt = performance.now() + hangingMs
      return
    }
    this.#inTurn.set(definition, inTurn + 1)
    await this.#recheck(watch)
    this.#inTurn.set(definition, (this.#inTurn.get(definition) ?? 1) - 1)
  }
}

function isPublicValue({ definition }: TopicAddress): boolean {
  return definition.audience === 'public' && definition.kind === 'value'
}

function retryMs(failures: number, retryAfterMs: number | null): number {
  const backoffMs = Math.min(retryCapMs, 250 * 2 ** failures) * (0.5 + 0.5 * Math.random())
  return Math.max(backoffMs, Math.min(retryAfterMs ?? 0, maxRetryAfterMs))
}

/** Topics that a client may not read and topics that do not exist get the same message (R52). */
export function refusalOf(topic: string): string {
  return `The topic "${topic}" is not yours to read, or does not exist.`
}
