import { parsePollAnswer, paths, type PollAnswer } from '@crossfade/protocol'
import type { Timer } from '../environment.ts'
import { jsonHeaders, positionsOf, retryAfterMs } from './headers.ts'
import type { OpenTransport, Transport, TransportEnd, TransportPort } from './transport.ts'

/** Opens a loop of held polls. */
export const openLongPoll: OpenTransport = (port) => new PollTransport(port, true)

/** Opens a loop of polls that answer at once. */
export const openShortPoll: OpenTransport = (port) => new PollTransport(port, false)

/** Holds learnt from proxies that cut (F18), by base. */
const learntHolds = new Map<string, number>()

/** How much longer than its hold an answer may take, ms. */
const answerMs = 10_000

/** Short and long polling differ in `wait` only. Nothing but the next request's cursors acknowledges an answer (F11). */
class PollTransport implements Transport {
  readonly #port: TransportPort
  readonly #holds: boolean
  #abort: AbortController | null = null
  #timer: Timer | null = null
  #proved = false
  #over = false
  #asked = ''

  constructor(port: TransportPort, holds: boolean) {
    this.#port = port
    this.#holds = holds
    void this.#poll()
  }

  /** What is wanted has changed: a held poll does not know. */
  sync(): void {
    if (this.#over || this.#asked === this.#wanted()) return
    if (this.#abort !== null) this.#abort.abort()
    else this.#soon(0)
  }

  close(): void {
    this.#over = true
    if (this.#timer !== null) this.#port.environment.clearTimeout(this.#timer)
    this.#abort?.abort()
  }

  #wanted(): string {
    return [...this.#port.subscriptions()].map((subscription) => subscription.id).join()
  }

  async #poll(): Promise<void> {
    const { environment, timing } = this.#port
    const startedAt = environment.now()
    // The first poll proves the path and is not held.
    const waitMs = this.#holds && this.#proved ? (learntHolds.get(this.#port.base) ?? timing.holdMs) : 0
    this.#asked = this.#wanted()
    const abort = new AbortController()
    this.#abort = abort
    const deadline = environment.setTimeout(() => abort.abort(), waitMs + (this.#proved ? answerMs : timing.proofMs))
    let answer: PollAnswer | null = null
    try {
      answer = await this.#ask(waitMs, abort.signal)
    } catch {
      this.#failed(waitMs, environment.now() - startedAt, abort)
    }
    environment.clearTimeout(deadline)
    this.#abort = null
    if (this.#over || answer === null) return
    this.#deliver(answer)
    const spacingMs = this.#holds ? timing.pollSpacingMs : timing.shortPollMs
    const isBehind = answer.more || this.#asked !== this.#wanted()
    this.#soon(isBehind ? 0 : Math.max(0, startedAt + spacingMs - environment.now()))
  }

  async #ask(waitMs: number, signal: AbortSignal): Promise<PollAnswer | null> {
    const { environment, base } = this.#port
    const response = await environment.fetch(`${base}${paths.poll}`, {
      method: 'POST',
      headers: await jsonHeaders(this.#port, 'application/json'),
      body: JSON.stringify({ topics: positionsOf(this.#port), wait: waitMs }),
      cache: 'no-store',
      signal,
    })
    if (response.ok) return parsePollAnswer(await response.json())
    if (response.status === 504 || response.status === 524) throw new Error('cut')
    const retryMs = retryAfterMs(response)
    if (response.status === 401) this.#end({ reason: 'auth' })
    else if (retryMs !== undefined) this.#end({ reason: 'closed', retryMs })
    else this.#end({ reason: 'poll-failed' })
    return null
  }

  #failed(waitMs: number, tookMs: number, abort: AbortController): void {
    if (this.#over) return
    const topicsChanged = abort.signal.aborted && this.#asked !== this.#wanted()
    if (topicsChanged) return this.#soon(0)
    // A held answer that was cut on the way: hold for less from now on.
    if (waitMs > 1_000 && tookMs > 1_000) {
      learntHolds.set(this.#port.base, Math.max(1_000, Math.min(waitMs, tookMs) * 0.8))
      return this.#soon(this.#port.timing.pollSpacingMs)
    }
    this.#end({ reason: 'poll-failed' })
  }

  #deliver(answer: PollAnswer): void {
    if (!this.#proved) {
      this.#proved = true
      this.#port.proved()
    }
    for (const message of answer.messages) if (message.type !== 'bye') this.#port.message(message)
    for (const subscription of this.#port.subscriptions()) {
      if (answer.topics[subscription.topic] !== undefined) subscription.isLive = true
    }
  }

  #soon(ms: number): void {
    if (this.#timer !== null) this.#port.environment.clearTimeout(this.#timer)
    this.#timer = this.#port.environment.setTimeout(() => {
      this.#timer = null
      if (!this.#over && this.#abort === null) void this.#poll()
    }, ms)
  }

  #end(end: TransportEnd): void {
    if (this.#over) return
    this.close()
    this.#port.ended(end)
  }
}
