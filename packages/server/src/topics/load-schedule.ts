import { CrossfadeError } from '@crossfade/protocol'
import { maxRetryAfterMs } from '../endpoints/verdict.ts'

/** What a schedule runs, and when. */
export interface LoadScheduleOptions {
  /** At least this long between the starts of two loads, ms. */
  minIntervalMs: number
  /** Load on this interval, ms; `null`: only when wanted. */
  refreshMs: number | null
  load: () => Promise<void>
  /** Whether anybody would use the result: failed loads are retried only then. */
  needed: () => boolean
  /** The `Retry-After` of a failure, ms. */
  retryAfterMs: (error: unknown) => number
}

interface Waiter {
  readonly want: number
  resolve(): void
  reject(error: unknown): void
}

const retryCapMs = 10_000

/**
 * Runs loads on request, one at a time. A request that arrives while a load runs is satisfied by the next one, which begins
 * after it: no client gets a result that was read before it asked.
 */
export class LoadSchedule {
  readonly #options: LoadScheduleOptions
  #wanted = 0
  #have = 0
  #running = false
  #failures = 0
  #startedAt = -Infinity
  /** The last failure, and when its `Retry-After` ends, by `performance.now()`. */
  #pause: { readonly error: unknown; readonly until: number } | null = null
  #timer: NodeJS.Timeout | null = null
  #refresh: NodeJS.Timeout | null = null
  #waiters: Waiter[] = []
  #stopped = false

  constructor(options: LoadScheduleOptions) {
    this.#options = options
  }

  get isRunning(): boolean {
    return this.#running
  }

  /** The last result satisfies every request. */
  get settled(): boolean {
    return this.#have === this.#wanted && !this.#running
  }

  /** The result is older than allowed, because there were no subscribers meanwhile: a load was requested, or its interval has passed. */
  get overdue(): boolean {
    const { refreshMs } = this.#options
    const isDormant = this.#wanted > this.#have && !this.#running && this.#timer === null
    return isDormant || (refreshMs !== null && performance.now() - this.#startedAt > refreshMs)
  }

  /** Requests a load that begins after this call. */
  want(): void {
    this.#wanted += 1
    this.#plan()
  }

  /**
   * Resolves after a load that began after this call; rejects with its error, immediately while the `Retry-After` of the last failure lasts.
   *
   * @throws CrossfadeError `server_error` when the schedule stops first.
   */
  next(): Promise<void> {
    if (this.#stopped) return Promise.reject(stoppedError())
    if (this.#pause !== null && performance.now() < this.#pause.until && !this.#running) {
      this.want()
      return Promise.reject(this.#pause.error)
    }
    const promise = new Promise<void>((resolve, reject) => {
      this.#waiters.push({ want: this.#wanted + 1, resolve, reject })
    })
    // A new request does not wait for the backoff of earlier failures.
    this.#cancel()
    this.want()
    return promise
  }

  /** Resolves when the loads requested so far have run, or failed. */
  async caughtUp(): Promise<void> {
    if (this.#stopped || this.settled) return
    await new Promise<void>((resolve) => {
      this.#waiters.push({ want: this.#wanted, resolve, reject: () => resolve() })
    })
  }

  /** There is a subscriber: starts refreshing, and loads if that was requested meanwhile. */
  resume(): void {
    const { refreshMs } = this.#options
    if (refreshMs !== null && this.#refresh === null) this.#refresh = setInterval(() => this.want(), refreshMs)
    if (this.#wanted > this.#have) this.#plan()
  }

  /** There are no subscribers any more. */
  pause(): void {
    if (this.#refresh !== null) clearInterval(this.#refresh)
    this.#refresh = null
  }

  stop(): void {
    this.#stopped = true
    this.pause()
    this.#cancel()
    // A load that is under way still settles for those who wait for it.
    if (this.#running) return
    for (const waiter of this.#waiters.splice(0)) waiter.reject(stoppedError())
  }

  #cancel(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #plan(): void {
    if (this.#running || this.#timer !== null || this.#stopped) return
    const delay = Math.max(0, this.#startedAt + this.#options.minIntervalMs - performance.now(), this.#backoffMs())
    if (delay === 0) {
      void this.#run()
      return
    }
    this.#timer = setTimeout(() => {
      this.#timer = null
      void this.#run()
    }, delay)
  }

  #backoffMs(): number {
    if (this.#failures === 0) return 0
    const leftMs = Math.max(0, (this.#pause?.until ?? 0) - performance.now())
    if (leftMs > 0 || this.#waiters.length > 0) return leftMs
    return Math.random() * Math.min(retryCapMs, 250 * 2 ** this.#failures)
  }

  async #run(): Promise<void> {
    this.#running = true
    this.#startedAt = performance.now()
    const target = this.#wanted
    let failure: { error: unknown } | null = null
    try {
      await this.#options.load()
    } catch (error) {
      failure = { error }
    }
    this.#running = false
    this.#settle(target, failure)
    if (this.#stopped) for (const waiter of this.#waiters.splice(0)) waiter.reject(stoppedError())
    if (this.#wanted > this.#have && this.#options.needed()) this.#plan()
  }

  #settle(target: number, failure: { error: unknown } | null): void {
    if (failure === null) {
      this.#failures = 0
      this.#pause = null
      this.#have = target
    } else {
      this.#failures += 1
      const pauseMs = Math.min(this.#options.retryAfterMs(failure.error), maxRetryAfterMs)
      this.#pause = pauseMs > 0 ? { error: failure.error, until: performance.now() + pauseMs } : null
    }
    // Requests made while it ran fail immediately with this `Retry-After`, like those made from now on.
    const isDue = ({ want }: Waiter): boolean => want <= target || this.#pause !== null
    const due = this.#waiters.filter(isDue)
    this.#waiters = this.#waiters.filter((waiter) => !isDue(waiter))
    for (const waiter of due) {
      if (failure === null) waiter.resolve()
      else waiter.reject(failure.error)
    }
  }
}

function stoppedError(): CrossfadeError {
  return new CrossfadeError('server_error', 'The topic was closed before its value was loaded. Try again.')
}
