/** Where the lifecycle of a feed logs; Fastify's logger fits. */
export interface FeedLog {
  info(message: string): void
  warn(message: string): void
  error(details: unknown, message: string): void
}

/** Whether another attempt follows. */
export type Outlook = 'tried again' | 'given up'

const outlooks: Readonly<Record<Outlook, string>> = {
  'tried again': 'It is tried again until it can.',
  'given up': 'It is not tried again: fix the cause and restart.',
}

/** Logs each reason once: a database that is down for a night must not fill the log. */
export class FeedFailureLog {
  readonly #log: FeedLog
  #reason: string | null = null
  #count = 0

  constructor(log: FeedLog) {
    this.#log = log
  }

  /** Why the last attempt failed; `null`: the source is being followed. */
  get reason(): string | null {
    return this.#reason
  }

  /** How many attempts in a row have failed for this reason. */
  get count(): number {
    return this.#count
  }

  failed(error: unknown, outlook: Outlook): void {
    const reason = error instanceof Error ? error.message : String(error)
    if (reason === this.#reason) {
      this.#count += 1
      return
    }
    this.#reason = reason
    this.#count = 1
    this.#log.error(
      error,
      `crossfade: the feed cannot follow its source, so all features are off and clients poll. ${outlooks[outlook]}`,
    )
  }

  recovered(): void {
    if (this.#reason === null) return
    this.#log.info(
      `crossfade: the feed follows its source again, after ${this.#count} failed attempt${this.#count === 1 ? '' : 's'} for the last reason`,
    )
    this.#reason = null
    this.#count = 0
  }
}
