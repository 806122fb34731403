import { hasExpired, type Identity } from '../identity/principal.ts'

/** Whose credentials load a topic that is not public: those of a subscriber, or of a client that waits for its value. */
export class CredentialSource {
  readonly #waiting = new Set<Identity>()
  #last: Identity | null = null
  readonly #refused = new WeakSet<Identity>()

  /** Runs `wait` while this client's credentials may be used. They remain usable afterwards, until another client asks. */
  async during<T>(identity: Identity, wait: () => Promise<T>): Promise<T> {
    this.offer(identity)
    this.#waiting.add(identity)
    try {
      return await wait()
    } finally {
      this.#waiting.delete(identity)
    }
  }

  offer(identity: Identity): void {
    this.#last = identity
  }

  /** The endpoint refused these credentials: others are tried before them. */
  refuse(identity: Identity): void {
    this.#refused.add(identity)
  }

  /** A load with these credentials may still succeed although another client's were refused. */
  isPromising(identity: Identity): boolean {
    return !this.#refused.has(identity) && !hasExpired(identity)
  }

  /**
   * @param may decides whose credentials may be used.
   * @returns `null` when there are none.
   */
  pick(
    subscribers: Iterable<{ readonly identity: Identity }>,
    may: (identity: Identity) => boolean = () => true,
  ): Identity | null {
    let refused: Identity | null = null
    for (const identity of this.#all(subscribers)) {
      if (hasExpired(identity) || !may(identity)) continue
      if (!this.#refused.has(identity)) return identity
      refused ??= identity
    }
    return refused
  }

  *#all(subscribers: Iterable<{ readonly identity: Identity }>): Iterable<Identity> {
    for (const { identity } of subscribers) yield identity
    yield* this.#waiting
    if (this.#last !== null) yield this.#last
  }
}
