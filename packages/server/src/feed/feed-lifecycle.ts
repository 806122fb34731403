import { setTimeout as pause } from 'node:timers/promises'
import {
  isSourceFailure,
  type ChangeBatch,
  type ChangeFeed,
  type FeedState,
  type WatchedTable,
} from '@crossfade/changefeed'
import { CrossfadeError } from '@crossfade/protocol'
import { FeedFailureLog, type FeedLog, type Outlook } from './feed-failure-log.ts'
import type { PushGate } from './push-gate.ts'

/** What a {@link FeedLifecycle} works with. */
export interface FeedPorts {
  readonly feed: ChangeFeed
  readonly gate: PushGate
  readonly log: FeedLog
  readonly sink: (batch: ChangeBatch) => Promise<void>
  /** `poll`: the application starts whatever the source does. `throw`: it does not start without its feed. */
  readonly failure: 'poll' | 'throw'
  /** How long Fastify lets a hook take, ms; 0: without limit. */
  readonly pluginTimeoutMs: number
}

/** What `/health` reports about the feed. */
export interface FeedHealth {
  readonly state: FeedState | null
  readonly lagBytes: number
  readonly lagMs: number
  /** Why it does not follow its source, or what else is wrong with it. */
  readonly lastError?: string
  /** How many times in a row it could not be started, for that reason. */
  readonly failedStarts: number
}

/** The longest that the start of the application waits for the first answer of the source, ms. */
const bootWaitMs = 2_000
const firstRetryMs = 250
const retryCapMs = 15_000
/** Clients are not told about a connection that is lost and restored within this time, ms. */
const reconnectGraceMs = 3_000

/**
 * Starts the feed when all routes are known, keeps trying where the source fails, and opens and closes the push gate as the feed
 * comes and goes. Mistakes in code are thrown; failures of the source are logged, and end by themselves.
 */
export class FeedLifecycle {
  readonly #ports: FeedPorts
  readonly #failures: FeedFailureLog
  readonly #stopping = new AbortController()
  #isStarted = false
  #grace: NodeJS.Timeout | null = null
  #forget: (() => void) | undefined
  #stopped: Promise<void> | null = null

  constructor(ports: FeedPorts) {
    this.#ports = ports
    this.#failures = new FeedFailureLog(ports.log)
  }

  /**
   * Starts the feed; resolves before Fastify's time-out for hooks, whatever the source does.
   *
   * @throws CrossfadeError `invalid_options`; with `failure: 'throw'` whatever the feed says.
   */
  async start(tables: readonly WatchedTable[]): Promise<void> {
    const { feed, failure } = this.#ports
    feed.watch?.(tables)
    this.#forget = feed.onState?.((state) => this.#became(state))
    await (failure === 'throw' ? this.#startOrThrow() : this.#startWhenItCan())
  }

  /** Idempotent. */
  stop(): Promise<void> {
    this.#stopping.abort()
    this.#forget?.()
    if (this.#grace !== null) clearTimeout(this.#grace)
    const { feed, log } = this.#ports
    this.#stopped ??= feed.stop().catch((error: unknown) => log.error(error, 'crossfade: the feed did not stop'))
    return this.#stopped
  }

  /** Whether the feed follows its source, stands by, or has not reported yet. */
  get isWell(): boolean {
    return this.#failures.reason === null
  }

  health(): FeedHealth {
    const status = this.#ports.feed.status?.()
    const lastError = this.#failures.reason ?? status?.lastError
    return {
      state: status?.state ?? null,
      lagBytes: status?.lagBytes ?? 0,
      lagMs: status?.lagMs ?? 0,
      ...(lastError === undefined ? {} : { lastError }),
      failedStarts: this.#isStarted ? 0 : this.#failures.count,
    }
  }

  async #startOrThrow(): Promise<void> {
    const { feed, sink, pluginTimeoutMs } = this.#ports
    const patienceMs = pluginTimeoutMs * 0.8
    const started = feed.start(sink)
    const settled = new AbortController()
    try {
      await (patienceMs === 0 ? started : Promise.race([started, this.#tooLate(patienceMs, settled.signal)]))
    } catch (error) {
      // Work that is still under way must not keep the process alive.
      started.catch(() => {})
      await this.stop()
      throw error
    } finally {
      settled.abort()
    }
    this.#started()
  }

  async #tooLate(ms: number, signal: AbortSignal): Promise<never> {
    await pause(ms, undefined, { signal })
    const lastError = this.#ports.feed.status?.().lastError
    throw new CrossfadeError(
      'feed_unavailable',
      `The feed did not start within ${ms} ms: ${lastError ?? 'its source takes the connection and does not answer'}. Check that the database runs, or let the application start without it: feedFailure: 'poll'.`,
    )
  }

  async #startWhenItCan(): Promise<void> {
    const { pluginTimeoutMs, gate } = this.#ports
    const waitMs = pluginTimeoutMs === 0 ? bootWaitMs : Math.min(bootWaitMs, pluginTimeoutMs / 4)
    let isBooting = true
    await new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        isBooting = false
        resolve()
      }
      const timer = setTimeout(settle, waitMs)
      this.#keepStarting(settle)
        .catch((error: unknown) => {
          gate.become('off')
          this.#failures.failed(error, 'given up')
          if (isBooting) reject(error)
        })
        .finally(() => clearTimeout(timer))
    })
  }

  /**
   * @param settle called when it is known whether the source can be followed.
   * @throws errors that no further attempt can cure.
   */
  async #keepStarting(settle: () => void): Promise<void> {
    const { feed, sink, gate } = this.#ports
    const { signal } = this.#stopping
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await feed.start(sink, { standby: true })
        this.#started()
        return settle()
      } catch (error) {
        if (signal.aborted) return settle()
        if (!isSourceFailure(error)) throw error
        this.#failures.failed(error, 'tried again')
        gate.become('off')
        settle()
      }
      const capMs = Math.min(retryCapMs, firstRetryMs * 2 ** attempt)
      await pause(capMs / 2 + (Math.random() * capMs) / 2, undefined, { signal, ref: false }).catch(() => {})
    }
  }

  #started(): void {
    this.#isStarted = true
    const { feed } = this.#ports
    // A feed that does not report its states counts as one that streams.
    this.#became(feed.onState === undefined ? 'streaming' : (feed.status?.().state ?? 'streaming'))
  }

  #became(state: FeedState): void {
    if (this.#stopping.signal.aborted) return
    if (state !== 'reconnecting' && this.#grace !== null) {
      clearTimeout(this.#grace)
      this.#grace = null
    }
    if (state === 'streaming') this.#follows()
    else if (state === 'standby') this.#standsBy()
    else if (state === 'reconnecting') this.#lost()
    else if (state === 'stopped' && this.#isStarted) this.#close('The feed has stopped', 'given up')
  }

  #follows(): void {
    this.#failures.recovered()
    this.#ports.gate.become('open')
  }

  #standsBy(): void {
    const { gate, log } = this.#ports
    if (gate.state !== 'standby') log.info('crossfade: another process follows the source; this one stands by')
    this.#failures.recovered()
    gate.become('standby')
  }

  /** Changes are late, not lost. */
  #lost(): void {
    this.#grace ??= setTimeout(() => this.#close('The feed has lost its source', 'tried again'), reconnectGraceMs)
  }

  #close(what: string, outlook: Outlook): void {
    const { feed, gate } = this.#ports
    this.#failures.failed(new Error(`${what}: ${feed.status?.().lastError ?? 'it gives no reason'}`), outlook)
    // If another process followed the source it may still do so: then this one must not say that there is no push.
    if (gate.state !== 'standby') gate.become('off')
  }
}
