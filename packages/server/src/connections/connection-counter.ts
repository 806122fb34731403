import { CrossfadeError } from '@crossfade/protocol'
import type { Identity } from '../identity/principal.ts'
import { networkOf } from './client-address.ts'

/**
 * How many connections one account, or one address of clients without an account, may have (PROTOCOL §8).
 *
 * Clients with an account count by account alone: a company behind one address, or everybody behind one proxy, shares no bound.
 */
export class ConnectionCounter {
  readonly #maxPerPrincipal: number
  readonly #maxPerAddress: number
  readonly #counts = new Map<string, number>()

  constructor(maxPerPrincipal: number, maxPerAddress: number) {
    this.#maxPerPrincipal = maxPerPrincipal
    this.#maxPerAddress = maxPerAddress
  }

  /**
   * Counts a connection of a client: by its principal, and by its address only when it has none.
   *
   * @returns releases it; calling it twice is harmless.
   * @throws CrossfadeError `too_fast`
   */
  acquire({ principal }: Identity, address: string | null): () => void {
    return principal === null
      ? this.#takeAddress('address', address)
      : this.#take('principal', principal.id, this.#maxPerPrincipal)
  }

  /**
   * Counts a connection that has not yet said who its client is, like {@link acquire}. These have a separate count: anonymous
   * clients that use up the limit of their address lock out nobody who has an account.
   */
  acquireUnknown(address: string | null): () => void {
    return this.#takeAddress('unknown', address)
  }

  #takeAddress(kind: 'address' | 'unknown', address: string | null): () => void {
    return address === null ? () => {} : this.#take(kind, networkOf(address), this.#maxPerAddress)
  }

  #take(kind: 'address' | 'principal' | 'unknown', id: string, max: number): () => void {
    const key = `${kind} ${id}`
    const count = this.#counts.get(key) ?? 0
    if (count >= max)
      throw new CrossfadeError(
        'too_fast',
        `There are ${max} connections of this ${kind === 'principal' ? 'account' : 'address'} already. Close one, or try again later.`,
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
