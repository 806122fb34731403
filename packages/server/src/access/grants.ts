import type { TopicAddress } from '../endpoints/topic-address.ts'
import type { Identity } from '../identity/principal.ts'

interface Grant {
  readonly principalId: string | null
  readonly until: number
}

/** Every run of an endpoint that began before a revocation has ended this long after it. */
const revocationMs = 600_000
/** How long it is remembered that everybody could read an address. */
const openMs = 600_000

/**
 * What endpoints have answered about who may read what. A grant belongs to credentials, or to everybody: in that case the endpoint of a public
 * topic answered a run that had no credentials at all.
 */
export class Grants {
  readonly #grantMs: number
  readonly #byCredentials = new Map<string, Grant>()
  /** When the grant for everybody ends, by the address's key. */
  readonly #everybody = new Map<string, number>()
  /** When an address was last answered to no credentials, be it to one client only. */
  readonly #open = new Map<string, number>()
  /** The last revocation of each principal, by its number. */
  readonly #revoked = new Map<string, { seq: number; at: number }>()
  #seq = 0

  /** @param grantMs how long a grant is valid, ms. */
  constructor(grantMs: number) {
    this.#grantMs = grantMs
  }

  /** The number of revocations so far: read it before an endpoint runs, and pass it to {@link grant} afterwards. */
  revocationSeq(): number {
    return this.#seq
  }

  has(address: TopicAddress, identity: Identity): boolean {
    const now = performance.now()
    if ((this.#byCredentials.get(grantKey(address, identity))?.until ?? 0) > now) return true
    return this.countsAsEverybody(identity) && (this.#everybody.get(address.key) ?? 0) > now
  }

  /** A principal that was revoked recently needs an answer to its own credentials. */
  countsAsEverybody(identity: Identity): boolean {
    return !this.isRevoked(identity)
  }

  /** The principal was revoked recently. */
  isRevoked(identity: Identity): boolean {
    const principalId = principalIdOf(identity)
    return principalId !== null && this.#revoked.has(principalId)
  }

  hasEverybody(address: TopicAddress): boolean {
    return this.#everybody.has(address.key)
  }

  /**
   * The endpoint answered these credentials with 2xx.
   *
   * @param seq the {@link revocationSeq} at which it began.
   * @returns false when the principal was revoked meanwhile: the answer proves nothing.
   */
  grant(address: TopicAddress, identity: Identity, seq: number): boolean {
    if (this.wasRevoked(identity, seq)) return false
    const until = performance.now() + this.#grantMs
    this.#byCredentials.set(grantKey(address, identity), { principalId: principalIdOf(identity), until })
    return true
  }

  /** Whether the principal was revoked after `seq`. */
  wasRevoked(identity: Identity, seq: number): boolean {
    const principalId = principalIdOf(identity)
    return principalId !== null && (this.#revoked.get(principalId)?.seq ?? 0) > seq
  }

  /** The endpoint answered 2xx to no credentials at all, whatever the network address. */
  grantEverybody(address: TopicAddress): void {
    this.#everybody.set(address.key, performance.now() + this.#grantMs)
    this.answeredNobody(address)
  }

  /** The endpoint answered 2xx to no credentials, but to one network address: the others may not be meant. */
  answeredNobody(address: TopicAddress): void {
    this.#open.set(address.key, performance.now())
  }

  /** It answered so no longer ago than a grant is good for. */
  isOpenNow(address: TopicAddress): boolean {
    return performance.now() - (this.#open.get(address.key) ?? -Infinity) < this.#grantMs
  }

  /** It answered no credentials when that was last seen: one run without any may answer for many clients. */
  wasOpen(address: TopicAddress, identity: Identity): boolean {
    return this.#open.has(address.key) && this.countsAsEverybody(identity)
  }

  withdraw(address: TopicAddress, identity: Identity): void {
    this.#byCredentials.delete(grantKey(address, identity))
  }

  withdrawEverybody(address: TopicAddress): void {
    this.#everybody.delete(address.key)
    this.#open.delete(address.key)
  }

  /** Earlier grants to a principal no longer count, nor do answers to runs that are under way. */
  revoke(principalId: string): void {
    this.#revoked.set(principalId, { seq: (this.#seq += 1), at: performance.now() })
    for (const [key, grant] of this.#byCredentials)
      if (grant.principalId === principalId) this.#byCredentials.delete(key)
  }

  /** Forgets expired entries. */
  sweep(): void {
    const now = performance.now()
    for (const [key, { until }] of this.#byCredentials) if (until <= now) this.#byCredentials.delete(key)
    for (const [key, until] of this.#everybody) if (until <= now) this.#everybody.delete(key)
    for (const [key, at] of this.#open) if (now - at > openMs) this.#open.delete(key)
    for (const [id, { at }] of this.#revoked) if (now - at > revocationMs) this.#revoked.delete(id)
  }
}

/** The id as text: an application may give the number from its database, and revoke by its text. */
export function principalIdOf({ principal }: Identity): string | null {
  const id = principal?.id as string | number | undefined
  return id === undefined ? null : String(id)
}

/** Identifies credentials and an answer together. */
export function grantKey(address: TopicAddress, identity: Identity): string {
  return `${identity.key}\n${address.key}`
}

/** Whether a run with these headers carries nothing by which an endpoint could tell one client of this address from another. */
export function isWithoutCredentials(address: TopicAddress, headers: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(headers)
  // A log has one address for everybody, although its headers decide who may read it.
  return address.definition.kind === 'log' ? names.length === 0 : names.every((name) => name in address.headers)
}
