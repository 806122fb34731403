import {
  CrossfadeError,
  isUpTo,
  parseCursor,
  type EventMessage,
  type Reset,
  type ServerMessage,
  type Subscribed,
  type SubscriptionMode,
  type TopicKind,
  type TopicPosition,
  type Unsubscribed,
} from '@crossfade/protocol'
import type { Asked } from '../transports/asked-topics.ts'
import { placeOf } from './log-state.ts'
import { applyEvent, applyRest, applyStart, emptyValue, type RestAnswer, type ValueState } from './value-state.ts'

/** Of which event a value is, and when its change was committed, ms since 1970. */
export interface ValueInfo {
  readonly cursor: string
  readonly hash: string
  readonly at: number
}

/** What a subscription tells its owner. */
export interface SubscriptionHandlers {
  /** Value topics: another value. */
  readonly onValue?: ((value: unknown, info: ValueInfo) => void) | undefined
  /** Log topics: the next event, each once and in order. */
  readonly onEvent?: ((event: EventMessage) => void) | undefined
  /** Mode `changes`: something is new; re-read after a random time up to `waitMs`. */
  readonly onChanged?: ((waitMs: number) => void) | undefined
  /** Events were lost: read the endpoint again from its beginning, after a random time up to `waitMs`, and drop what is there by key (R4). */
  readonly onReset?: ((reason: string, waitMs: number) => void) | undefined
  /** The subscription was refused or ended by the server. */
  readonly onEnd?: ((error: CrossfadeError) => void) | undefined
  /** What the client held was not what the server has: it is being replaced, or has been (R7, R8). */
  readonly onDrift?: ((topic: string) => void) | undefined
}

/** Where a subscription begins. */
export interface Beginning extends TopicPosition {
  /** The value at `cursor`, if its holder has it. */
  value?: unknown
  /** When it was read, ms since 1970. */
  at?: number
}

let count = 0

/** One topic as the client follows it, whatever carries it at the moment. */
export class TopicSubscription {
  readonly topic: string
  readonly #handlers: SubscriptionHandlers
  readonly #changed: () => void
  #history: number | undefined
  /** Where it stood when it began anew with history: what came after must not be missing. */
  #resumeFrom: string | null = null
  #mode: SubscriptionMode
  #state: ValueState
  #kind: TopicKind | null = null
  #isStale = false
  #at = 0
  /** Changes with each `subscribe`: what belongs to an older one does not count. */
  id: string = nextId()
  /** The server has accepted it on the present connection. */
  isLive = false
  /** It was refused for the moment, and is not to be asked for now. */
  isWaiting = false
  /** How often in a row it was refused. */
  refusals = 0

  /** @param changed it is to be subscribed anew, under its new id. */
  constructor(topic: string, beginning: Beginning, handlers: SubscriptionHandlers, changed: () => void) {
    this.topic = topic
    this.#mode = beginning.mode ?? 'events'
    this.#history = beginning.history
    this.#state = stateOf(beginning)
    this.#handlers = handlers
    this.#changed = changed
  }

  get mode(): SubscriptionMode {
    return this.#mode
  }

  get cursor(): string | null {
    return this.#state.cursor ?? this.#resumeFrom
  }

  get epoch(): string | null {
    return this.#state.cursor === null ? null : parseCursor(this.#state.cursor).epoch
  }

  /** The value, where it is known. */
  get held(): { value: unknown; info: ValueInfo } | null {
    const { cursor, hash, value } = this.#state
    if (cursor === null || hash === null || value === undefined) return null
    return { value, info: { cursor, hash, at: this.#at } }
  }

  /** Where the client stands, for a `subscribe` or a poll. Without the value a hash would only ask for patches that cannot be applied. */
  get position(): TopicPosition {
    const { cursor, hash, value } = this.#state
    return {
      ...(cursor === null ? {} : { cursor }),
      ...(cursor !== null && hash !== null && value !== undefined ? { hash } : {}),
      ...(cursor === null && this.#history !== undefined ? { history: this.#history } : {}),
      ...(this.#mode === 'changes' ? { mode: 'changes' } : {}),
      ...(this.#isStale ? { stale: true } : {}),
    }
  }

  /** The server carries it. */
  accepted(): void {
    this.isLive = true
    this.refusals = 0
  }

  /** A poll was answered, which is a subscription of its own (R7). */
  polled(asked: Asked): void {
    // An answer names what is stale.
    this.#isStale = false
    this.accepted()
    if (this.#isValue) this.#begin(asked, true)
  }

  /** The time to ask for it again has come. */
  resume(): void {
    this.isWaiting = false
    this.#again()
  }

  /** Takes a message of this topic. */
  take(message: ServerMessage, asked: Asked): void {
    switch (message.type) {
      case 'subscribed':
        this.#start(message, asked)
        break
      case 'event':
        this.#event(message)
        break
      case 'changed':
        this.#state = { ...this.#state, cursor: message.cursor, hash: null }
        this.#handlers.onChanged?.(message.wait)
        break
      case 'reset':
        this.#lost(message)
        break
      case 'stale':
        this.#isStale = true
        // Until it is fresh again the page polls, as it would without push (R55).
        this.isLive = false
        break
      case 'fresh':
        this.#isStale = false
        this.accepted()
        break
      case 'unsubscribed':
        if (message.code !== 'requested') this.#handlers.onEnd?.(errorOf(message))
        break
      case 'error':
        this.#handlers.onEnd?.(new CrossfadeError(message.code, message.message))
        break
      default:
        break
    }
  }

  /** A REST answer of the same topic (R8). @returns whether its value is to be shown, or what else it did. */
  rest(answer: RestAnswer & { at: number }): 'shown' | 'moved' | 'ignored' {
    const { state, outcome } = applyRest(this.#state, answer)
    this.#state = state
    if (outcome === 'shown') this.#at = answer.at
    // The server then answers with a value that is not older than this one.
    if (outcome === 'shown') this.#again()
    return outcome
  }

  /** Begins anew from another position, or in another mode. */
  restart(beginning: Beginning): void {
    this.#resumeFrom = beginning.history === undefined ? null : this.cursor
    this.#history = beginning.history
    this.#mode = beginning.mode ?? 'events'
    this.#state = stateOf(beginning)
    this.#again()
  }

  #start({ kind, cursor, recovered, wait }: Subscribed, asked: Asked): void {
    this.#kind = kind
    this.accepted()
    if (this.#isValue) this.#begin(asked, recovered)
    else if (!this.#hasMoved(asked) || this.epoch !== parseCursor(cursor).epoch) this.#startLog(cursor, recovered, wait)
  }

  #begin(asked: Asked, recovered: boolean): void {
    this.#state = applyStart(this.#state, recovered, this.#hasMoved(asked))
  }

  /** Whether another transport, or a REST answer, has brought it further than where it was asked to begin. */
  #hasMoved(asked: Asked): boolean {
    return this.#state.cursor !== null && this.#state.cursor !== asked.cursor
  }

  #startLog(cursor: string, recovered: boolean, waitMs: number | undefined): void {
    const resumeFrom = this.#state.cursor === null ? this.#resumeFrom : null
    if (resumeFrom !== null && !isUpTo(cursor, resumeFrom))
      return this.restart({ cursor: resumeFrom, mode: this.#mode })
    if (!recovered || this.#state.cursor === null) this.#state = { ...this.#state, cursor, hash: null }
    if (!recovered) this.#tellLoss('the history since your cursor is not known any more', waitMs)
  }

  /** On a live subscription only; the same as `recovered: false` (R4). */
  #lost({ cursor, reason, wait }: Reset): void {
    if (this.#isValue) this.#state = applyStart(this.#state, false)
    else {
      this.#state = { ...this.#state, cursor, hash: null }
      this.#tellLoss(reason, wait)
    }
  }

  get #isValue(): boolean {
    return this.#kind !== 'log' && this.#mode === 'events'
  }

  #tellLoss(reason: string, waitMs: number = 0): void {
    if (this.#mode === 'changes') this.#handlers.onChanged?.(waitMs)
    else this.#handlers.onReset?.(reason, waitMs)
  }

  #event(event: EventMessage): void {
    const isValue = event.event === 'snapshot' || event.event === 'patch'
    this.#kind ??= isValue ? 'value' : 'log'
    if (this.#kind === 'value') this.#valueEvent(event)
    else this.#logEvent(event)
  }

  #valueEvent(event: EventMessage): void {
    const { state, outcome } = applyEvent(this.#state, event)
    this.#state = state
    if (outcome === 'drift' || outcome === 'misfit') this.#handlers.onDrift?.(this.topic)
    if (outcome === 'shown' || outcome === 'drift') {
      this.#at = event.at
      this.#handlers.onValue?.(state.value, { cursor: event.cursor, hash: state.hash ?? '', at: event.at })
    }
    if (outcome === 'gap' || outcome === 'misfit') this.#again()
  }

  #logEvent(event: EventMessage): void {
    const place = placeOf(this.#state.cursor, event)
    // What is missing is after our cursor: the server gives it again.
    if (place === 'gap') this.#again()
    if (place !== 'next') return
    this.#state = { ...this.#state, cursor: event.cursor }
    this.#handlers.onEvent?.(event)
  }

  #again(): void {
    if (this.isWaiting) return
    this.id = nextId()
    this.isLive = false
    this.#changed()
  }
}

function stateOf({ cursor, hash, value }: Beginning): ValueState {
  return cursor === undefined ? emptyValue : { cursor, hash: hash ?? null, value, takes: 'newer' }
}

function errorOf({ code, topic, message }: Unsubscribed): CrossfadeError {
  const about = `The subscription to ${topic} has ended: ${message}`
  return new CrossfadeError(
    code === 'gone' ? 'unknown_topic' : code === 'expired' ? 'unauthenticated' : 'forbidden',
    about,
  )
}

function nextId(): string {
  count += 1
  return `s${count.toString(36)}`
}
