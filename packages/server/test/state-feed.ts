import type { ChangeBatch, FeedStart, FeedState, FeedStatus } from '@crossfade/changefeed'
import { HandFeed } from './shop.ts'

/** A feed whose source fails, comes and goes as a test says. */
export class StateFeed extends HandFeed {
  readonly #listeners = new Set<(state: FeedState) => void>()
  #state: FeedState = 'stopped'
  /** What happened to it, in order. */
  readonly calls: string[] = []
  /** The error with which `start` rejects; `hang`: it never settles. */
  failure: Error | 'hang' | null
  /** Whether another process has the source. */
  isHeld = false
  lastError: string | undefined

  constructor(failure: Error | 'hang' | null = null) {
    super()
    this.failure = failure
  }

  override async start(sink: (batch: ChangeBatch) => Promise<void>, options: FeedStart = {}): Promise<void> {
    this.calls.push(options.standby === true ? 'start standby' : 'start')
    this.become('starting')
    if (this.failure === 'hang') return new Promise(() => {})
    if (this.failure !== null) {
      this.become('stopped')
      throw this.failure
    }
    await super.start(sink)
    this.become(this.isHeld ? 'standby' : 'streaming')
  }

  override stop(): Promise<void> {
    this.calls.push('stop')
    this.become('stopped')
    return super.stop()
  }

  status(): FeedStatus {
    return {
      state: this.#state,
      lagBytes: 0,
      lagMs: 0,
      ...(this.lastError === undefined ? {} : { lastError: this.lastError }),
    }
  }

  onState(listener: (state: FeedState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  become(state: FeedState): void {
    this.#state = state
    for (const listener of this.#listeners) listener(state)
  }
}
