import { CrossfadeError } from '@crossfade/protocol'
import type { Principal } from '../identity/principal.ts'

/** How many connections one account and one address may hold (PROTOCOL §8). */
export class ConnectionCounter {
  readonly #maxPerPrincipal: number
  readonly #maxPerAddress: number
  readonly #counts = new Map<string, number>()

  constructor(maxPerPrincipal: number, maxPerAddress: number) {
    this.#maxPerPrincipal = maxPerPrincipal
    this.#maxPerAddress = maxPerAddress
  }

  /**
   * Counts a connection of an address.
   *
   * @returns what gives it back; calling it twice is harmless.
   * @throws CrossfadeError `too_fast`
   */
  acquireAddress(address: string): () => void {
    return this.#take(`address ${address}`, this.#maxPerAddress)
  }

  /** Counts a connection of a principal, like {@link acquireAddress}. */
  acquirePrincipal(principal: Principal | null): () => void {
    return principal === null ? () => {} : this.#take(`principal ${principal.id}`, this.#maxPerPrincipal)
  }

  #take(key: string, max: number): () => void {
    const count = this.#counts.get(key) ?? 0
    if (count >= max)
      throw new CrossfadeError(
        'too_fast',
        `There are ${max} connections of this ${key.split(' ')[0]} already. Close one, or try again later.`,
      )
    this.#counts.set(key, count + 1)
    let taken = true
    return () => {
      if (!taken) return
      taken = false
      const left = (this.#counts.get(key) ?? 1) - 1
      if (left === 0) this.#counts.delete(key)
      else this.#counts.set(key, left)
    }
  }
}
