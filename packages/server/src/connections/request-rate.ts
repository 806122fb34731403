import { CrossfadeError } from '@crossfade/protocol'
import type { Identity } from '../identity/principal.ts'
import { networkOf } from './client-address.ts'
import { TokenBucket } from './token-bucket.ts'

const sweepMs = 30_000

/**
 * How much one client may ask for: requests to `{base}/*`, and topics for which an endpoint has to be run. Counted by account; by address, where
 * there is no account; and by address alone for bad credentials, before any are verified again.
 */
export class RequestRate {
  readonly #perSecond: number
  readonly #burst: number
  readonly #principals = new Map<string, TokenBucket>()
  readonly #addresses = new Map<string, TokenBucket>()
  readonly #badCredentials = new Map<string, TokenBucket>()
  readonly #sweeper: NodeJS.Timeout

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs)
    this.#sweeper.unref()
  }

  /** @throws CrossfadeError `too_fast` */
  acquire({ principal, ip }: Identity): void {
    const bucket =
      principal === null ? this.#bucketOfAddress(this.#addresses, ip) : this.#bucket(this.#principals, principal.id)
    if (bucket?.take() !== false) return
    throw new CrossfadeError(
      'too_fast',
      `More than ${this.#perSecond} requests, or topics that have to be looked up, a second. Wait a second.`,
    )
  }

  /**
   * Refuses an address that has recently sent too many bad credentials, whatever it sends now.
   *
   * @throws CrossfadeError `too_fast`
   */
  requireGoodCredentials(ip: string | null): void {
    if (ip === null || this.#badCredentials.get(networkOf(ip))?.isEmpty !== true) return
    throw new CrossfadeError('too_fast', 'Too many bad credentials come from your address. Wait a second.')
  }

  badCredentials(ip: string | null): void {
    this.#bucketOfAddress(this.#badCredentials, ip)?.take()
  }

  close(): void {
    clearInterval(this.#sweeper)
  }

  /** @returns `null` for a client without an address, as on a Unix socket: it cannot be distinguished from others. */
  #bucketOfAddress(buckets: Map<string, TokenBucket>, ip: string | null): TokenBucket | null {
    return ip === null ? null : this.#bucket(buckets, networkOf(ip))
  }

  #bucket(buckets: Map<string, TokenBucket>, client: string): TokenBucket {
    const bucket = buckets.get(client) ?? new TokenBucket(this.#perSecond, this.#burst)
    buckets.set(client, bucket)
    return bucket
  }

  #sweep(): void {
    for (const buckets of [this.#principals, this.#addresses, this.#badCredentials])
      for (const [client, bucket] of buckets) if (bucket.full) buckets.delete(client)
  }
}
