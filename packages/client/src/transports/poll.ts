import { parsePollAnswer, paths, type PollAnswer } from '@crossfade/protocol'
import type { Timer } from '../environment.ts'
import { AskedTopics } from './asked-topics.ts'
import { endOfAnswer } from './ends.ts'
import { jsonHeaders } from './headers.ts'
import type { OpenTransport, Transport, TransportEnd, TransportPort } from './transport.ts'

/** Opens a loop of held polls. */
export const openLongPoll: OpenTransport = (port) => new PollTransport(port, true)

/** Opens a loop of polls that answer at once. */
export const openShortPoll: OpenTransport = (port) => new PollTransport(port, false)

/** How much longer than its hold an answer may take, ms. */
const answerMs = 10_000
/** What ends sooner was no hold that something cut. */
const leastHeldMs = 1_000

/** One request of the loop. */
interface Poll {
  readonly startedAt: number
  readonly waitMs: number
  readonly asked: AskedTopics
  readonly abort: AbortController
  /** What is wanted has changed: the next one asks for it. */
  isReplaced: boolean
}

/** Something between answered in the server's place. */
class GatewayAnswer extends Error {}

/** Short and long polling differ in `wait` only. Nothing but the next request's cursors acknowledges an answer. */
class PollTransport implements Transport {
  readonly #port: TransportPort
  readonly #holds: boolean
  #poll: Poll | null = null
  /** What the last answer was for; an answer proves the path. */
  #answeredFor: AskedTopics | null = null
  #startedAt = Number.NEGATIVE_INFINITY
  #timer: Timer | null = null
  #over = false

  constructor(port: TransportPort, holds: boolean) {
    this.#port = port
    this.#holds = holds
    void this.#start()
  }

  /** What is wanted has changed: a held poll does not know. One that is not held answers soon by itself. */
  sync(): void {
    if (this.#over || this.#isAsked()) return
    if (this.#poll === null || this.#poll.waitMs > 0) this.#next(this.#port.timing.pollSpacingMs)
  }

  close(): void {
    this.#over = true
    this.#port.environment.clearTimeout(this.#timer)
    this.#poll?.abort.abort()
  }

  /** Whether the poll under way asks for what is wanted. */
  #isAsked(): boolean {
    return this.#poll?.asked.covers(this.#port.subscriptions()) === true
  }

  /** The next poll, this long after the start of the last one. */
  #next(spacingMs: number): void {
    const { environment } = this.#port
    environment.clearTimeout(this.#timer)
    const ms = Math.max(0, this.#startedAt + spacingMs - environment.now())
    this.#timer = environment.setTimeout(() => {
      this.#timer = null
      if (this.#over) return
      if (this.#poll === null) void this.#start()
      else replace(this.#poll)
    }, ms)
  }

  async #start(): Promise<void> {
    const { environment, timing, hold } = this.#port
    const startedAt = environment.now()
    const asked = new AskedTopics(this.#port.subscriptions())
    // An answer says that a topic is carried; the first one proves the path. What waits for either is not held.
    const waitMs = this.#holds && this.#answeredFor?.includes(asked) === true ? hold.ms(startedAt) : 0
    const poll: Poll = { startedAt, waitMs, asked, abort: new AbortController(), isReplaced: false }
    this.#poll = poll
    this.#startedAt = startedAt
    const deadline = environment.setTimeout(
      () => poll.abort.abort(),
      waitMs + (this.#answeredFor === null ? timing.proofMs : answerMs),
    )
    try {
      const answer = await this.#ask(poll)
      if (answer !== null) this.#answered(poll, answer)
    } catch (error) {
      this.#failed(poll, error)
    } finally {
      environment.clearTimeout(deadline)
    }
  }

  /** @returns `null` when the server refused, which ends the loop. */
  async #ask(poll: Poll): Promise<PollAnswer | null> {
    const { environment, base } = this.#port
    const token = await this.#port.token()
    const response = await environment.fetch(`${base}${paths.poll}`, {
      method: 'POST',
      headers: jsonHeaders(token, { accept: 'application/json' }),
      body: JSON.stringify({ topics: poll.asked.topics, wait: poll.waitMs, stagesSince: this.#port.heard() }),
      cache: 'no-store',
      signal: poll.abort.signal,
    })
    if (response.ok) return readAnswer(await response.text())
    if (response.status === 504 || response.status === 524) throw new GatewayAnswer()
    this.#end(endOfAnswer(response, environment.now(), 'poll-failed'))
    return null
  }

  #answered(poll: Poll, answer: PollAnswer): void {
    if (this.#over) return
    this.#poll = null
    const isFirst = this.#answeredFor === null
    this.#answeredFor = poll.asked
    if (isFirst) this.#port.proved()
    this.#deliver(poll, answer)
    const { timing } = this.#port
    // While no topic is carried nothing is held.
    const wasHeld = this.#holds && Object.keys(answer.topics).length > 0
    if (answer.more && answer.messages.length > 0) this.#next(0)
    else this.#next(wasHeld || this.#isBehind(poll) ? timing.pollSpacingMs : timing.shortPollMs)
  }

  /** Whether what is wanted has changed since this poll. */
  #isBehind({ asked }: Poll): boolean {
    return [...this.#port.subscriptions()].some((subscription) => !asked.has(subscription))
  }

  #deliver({ asked }: Poll, answer: PollAnswer): void {
    for (const subscription of this.#port.subscriptions()) {
      const position = asked.to(subscription)
      if (position !== undefined && answer.topics[subscription.topic] !== undefined) subscription.polled(position)
    }
    for (const message of answer.messages) this.#port.message(message, asked.of(message))
  }

  #failed({ startedAt, waitMs, abort, isReplaced }: Poll, error: unknown): void {
    if (this.#over) return
    this.#poll = null
    const { environment, hold, timing } = this.#port
    if (isReplaced) return this.#next(timing.pollSpacingMs)
    const tookMs = environment.now() - startedAt
    if (abort.signal.aborted || waitMs < leastHeldMs || tookMs < leastHeldMs)
      return this.#end({ reason: 'poll-failed' })
    // It was held and then cut: the loop goes on, and learns.
    if (error instanceof GatewayAnswer) hold.cut(tookMs, environment.now())
    else hold.broke(tookMs, environment.now())
    this.#next(timing.pollSpacingMs)
  }

  #end(end: TransportEnd): void {
    if (this.#over) return
    this.close()
    this.#port.ended(end)
  }
}

/** It is ended, and the next one asks for what is wanted now. */
function replace(poll: Poll): void {
  poll.isReplaced = true
  poll.abort.abort()
}

function readAnswer(text: string): PollAnswer {
  try {
    return parsePollAnswer(JSON.parse(text))
  } catch {
    // A page of some gateway, with the status of an answer.
    throw new GatewayAnswer()
  }
}
