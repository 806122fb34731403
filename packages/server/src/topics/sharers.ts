import type { Identity } from '../identity/principal.ts'

const maxSharers = 10_000

/** The credentials that are known to get exactly the value that a group shares: from their own answers, or because they loaded it. */
export class Sharers {
  readonly #keys = new Set<string>()

  has({ key }: Identity): boolean {
    return this.#keys.has(key)
  }

  add({ key }: Identity): void {
    this.#keys.add(key)
    const oldest = this.#keys.values().next().value
    if (this.#keys.size > maxSharers && oldest !== undefined) this.#keys.delete(oldest)
  }

  /** A value was loaded with these credentials: earlier matches of others count only if these had matched, too. */
  loadedBy(identity: Identity): void {
    if (this.#keys.has(identity.key)) return
    this.#keys.clear()
    this.#keys.add(identity.key)
  }
}
