import { CrossfadeError } from '@crossfade/protocol'
import type { ChangeBatch, RowChange } from './change.ts'
import type { ChangeFeed, FeedStatus } from './change-feed.ts'

/** A feed whose changes are emitted by hand, for tests and examples. */
export class MemoryFeed implements ChangeFeed {
  #sink: ((batch: ChangeBatch) => Promise<void>) | null = null
  #position = 0

  start(sink: (batch: ChangeBatch) => Promise<void>): Promise<void> {
    this.#sink = sink
    return Promise.resolve()
  }

  stop(): Promise<void> {
    this.#sink = null
    return Promise.resolve()
  }

  status(): FeedStatus {
    return { state: this.#sink === null ? 'stopped' : 'streaming', lagBytes: 0, lagMs: 0 }
  }

  /**
   * Emits one transaction and waits until the sink has taken it.
   *
   * @throws CrossfadeError `feed_stopped` when the feed is not started.
   */
  async emit(changes: readonly RowChange[]): Promise<void> {
    if (this.#sink === null)
      throw new CrossfadeError('feed_stopped', 'The memory feed is not started. Wait for app.ready() before you emit.')
    this.#position += 1
    await this.#sink({
      source: 'memory',
      position: String(this.#position).padStart(16, '0'),
      transaction: String(this.#position),
      committedAt: Date.now(),
      changes,
    })
  }
}
