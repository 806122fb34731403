import { CrossfadeError } from '@crossfade/protocol'
import { TokenBucket } from './token-bucket.ts'

const sweepMs = 30_000

/** The rate of one client's HTTP requests to `{base}/*`: by account, or by address when it has none. */
export class RequestRate {
  readonly #perSecond: number
  readonly #burst: number
  readonly #buckets = new Map<string, TokenBucket>()
  readonly #sweeper: NodeJS.Timeout

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs)
    this.#sweeper.unref()
  }

  /** @throws CrossfadeError `too_fast` */
  take(client: string): void {
    const bucket = this.#buckets.get(client) ?? new TokenBucket(this.#perSecond, this.#burst)
    this.#buckets.set(client, bucket)
    if (!bucket.take())
      throw new CrossfadeError('too_fast', `More than ${this.#perSecond} requests a second. Wait a second.`)
  }

  close(): void {
    clearInterval(this.#sweeper)
  }

  #sweep(): void {
    for (const [client, bucket] of this.#buckets) if (bucket.full) this.#buckets.delete(client)
  }
}
