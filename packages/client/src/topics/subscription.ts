import {
  CrossfadeError,
  parseCursor,
  type EventMessage,
  type ServerMessage,
  type SubscriptionMode,
  type TopicKind,
  type TopicPosition,
} from '@crossfade/protocol'
import { placeOf } from './log-state.ts'
import { applyEvent, applyRest, applyStart, emptyValue, type RestAnswer, type ValueState } from './value-state.ts'

/** What a subscription tells its owner. */
export interface SubscriptionHandlers {
  /** Value topics: another value. */
  readonly onValue?: ((value: unknown, info: { cursor: string; hash: string; at: number }) => void) | undefined
  /** Log topics: the next event, each once and in order. */
  readonly onEvent?: ((event: EventMessage) => void) | undefined
  /** Mode `changes`: something is new; re-read after a random time up to `waitMs`. */
  readonly onChanged?: ((waitMs: number) => void) | undefined
  /** Events were lost: read the endpoint again from its beginning and drop what is there by key (R4). */
  readonly onReset?: ((reason: string) => void) | undefined
  /** The subscription was refused or ended by the server. */
  readonly onEnd?: ((error: CrossfadeError) => void) | undefined
  /** What the client held was wrong and is fetched anew. */
  readonly onDrift?: ((topic: string) => void) | undefined
}

let count = 0

/** One topic as the client follows it, whatever carries it at the moment. */
export class TopicSubscription {
  readonly topic: string
  readonly mode: SubscriptionMode
  readonly #handlers: SubscriptionHandlers
  readonly #resubscribe: () => void
  readonly #history: number | undefined
  /** Changes with each `subscribe`: what belongs to an older one does not count. */
  id: string
  kind: TopicKind | null = null
  #state: ValueState = emptyValue
  /** No event counts before the server has answered a subscription that gave no cursor. */
  #awaits: boolean
  /** The server has accepted it on the present connection. */
  isLive = false

  constructor(
    topic: string,
    position: TopicPosition & { value?: unknown },
    handlers: SubscriptionHandlers,
    resubscribe: () => void,
  ) {
    this.topic = topic
    this.mode = position.mode ?? 'events'
    this.#handlers = handlers
    this.#resubscribe = resubscribe
    this.#history = position.history
    this.id = nextId()
    if (position.cursor !== undefined) {
      this.#state = { cursor: position.cursor, hash: position.hash ?? null, value: position.value, takesAny: false }
    }
    this.#awaits = position.cursor === undefined
  }

  /** Where the client stands, for a `subscribe` or a poll. */
  get position(): TopicPosition {
    const { cursor, hash } = this.#state
    return {
      ...(cursor === null ? {} : { cursor }),
      ...(cursor !== null && hash !== null ? { hash } : {}),
      ...(cursor === null && this.#history !== undefined ? { history: this.#history } : {}),
      ...(this.mode === 'changes' ? { mode: 'changes' } : {}),
    }
  }

  get cursor(): string | null {
    return this.#state.cursor
  }

  get hash(): string | null {
    return this.#state.hash
  }

  get epoch(): string | null {
    return this.#state.cursor === null ? null : parseCursor(this.#state.cursor).epoch
  }

  /** Takes a message of this topic. */
  take(message: ServerMessage): void {
    switch (message.type) {
      case 'subscribed':
        if (message.id === undefined || message.id === this.id)
          this.#start(message.kind, message.cursor, message.recovered)
        break
      case 'event':
        if (!this.#awaits) this.#event(message)
        break
      case 'changed':
        this.#state = { ...this.#state, cursor: message.cursor, hash: null }
        this.#handlers.onChanged?.(message.wait)
        break
      case 'reset':
        this.#lost(message.cursor, message.reason)
        break
      case 'unsubscribed':
        if (message.code !== 'requested' && (message.id === undefined || message.id === this.id)) {
          this.#handlers.onEnd?.(new CrossfadeError('forbidden', message.message))
        }
        break
      case 'error':
        if (message.id === undefined || message.id === this.id)
          this.#handlers.onEnd?.(new CrossfadeError(message.code, message.message))
        break
      default:
        break
    }
  }

  /** A REST answer of the same topic (R8). @returns whether its value is to be shown. */
  rest(answer: RestAnswer): boolean {
    const step = applyRest(this.#state, answer)
    const isNews = step.outcome === 'shown' && this.#state.cursor !== null
    this.#state = step.state
    // The server then answers with a value that is not older than this one.
    if (isNews) this.#again()
    return step.outcome === 'shown'
  }

  #start(kind: TopicKind, cursor: string, recovered: boolean): void {
    this.kind = kind
    this.isLive = true
    this.#awaits = false
    if (kind === 'value' && this.mode === 'events') {
      this.#state = applyStart(this.#state, recovered)
      return
    }
    const hadCursor = this.#state.cursor !== null
    if (!recovered || !hadCursor) this.#state = { ...this.#state, cursor, hash: null }
    if (recovered) return
    if (this.mode === 'changes') this.#handlers.onChanged?.(0)
    else this.#handlers.onReset?.('the history since your cursor is not known any more')
  }

  #event(event: EventMessage): void {
    if (event.event === 'snapshot' || event.event === 'patch') this.#valueEvent(event)
    else this.#logEvent(event)
  }

  #valueEvent(event: EventMessage): void {
    const { state, outcome } = applyEvent(this.#state, event)
    this.#state = state
    if (outcome === 'shown')
      this.#handlers.onValue?.(state.value, { cursor: event.cursor, hash: state.hash ?? '', at: event.at })
    if (outcome !== 'drift') return
    this.#awaits = true
    this.#handlers.onDrift?.(this.topic)
    this.#again()
  }

  #logEvent(event: EventMessage): void {
    const place = placeOf(this.#state.cursor, event)
    if (place === 'gap') {
      this.#handlers.onDrift?.(this.topic)
      this.#again()
    }
    if (place !== 'next') return
    this.#state = { ...this.#state, cursor: event.cursor }
    this.#handlers.onEvent?.(event)
  }

  #lost(cursor: string, reason: string): void {
    if (this.kind === 'value') this.#state = { ...this.#state, takesAny: true }
    else this.#state = { ...this.#state, cursor }
    if (this.mode === 'changes') this.#handlers.onChanged?.(0)
    else if (this.kind === 'log') this.#handlers.onReset?.(reason)
  }

  #again(): void {
    this.id = nextId()
    this.isLive = false
    this.#resubscribe()
  }
}

function nextId(): string {
  count += 1
  return `s${count.toString(36)}`
}
