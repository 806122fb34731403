import { applyPatch, hashValue, parseCursor, type EventMessage, type PatchOperation } from '@crossfade/protocol'

// What a client holds of a value topic, as pure transitions (R7, R8):
//
//   empty ── snapshot ──▶ held ── next patch / greater snapshot / REST answer ──▶ held
//     ▲                     │
//     └──── drift: a gap, a patch that does not apply, another hash ──┘

/** The value that a client holds and where it stands. */
export interface ValueState {
  readonly cursor: string | null
  readonly hash: string | null
  readonly value: unknown
  /**
   * Which snapshot is taken: `any` – the first one after `recovered: false`, `reset` or a subscription without cursor (R7);
   * `newer` – a greater one of the same epoch; `foreign` – `newer`, or one of another epoch: the first one was awaited when a REST answer came.
   */
  readonly takes: 'any' | 'newer' | 'foreign'
}

/** What an event or answer did. */
export interface ValueStep {
  readonly state: ValueState
  /** `shown`: another value. `moved`: the same value, further on. `ignored`: old. `drift`: subscribe again without a cursor. */
  readonly outcome: 'shown' | 'moved' | 'ignored' | 'drift'
}

export const emptyValue: ValueState = { cursor: null, hash: null, value: undefined, takes: 'any' }

/** A `snapshot` or `patch` event of the topic. */
export function applyEvent(state: ValueState, event: EventMessage): ValueStep {
  const place = placeOf(state, event)
  if (place === 'old') return { state, outcome: 'ignored' }
  if (event.event === 'snapshot') return take(state, event)
  if (place === 'any') return { state, outcome: 'ignored' }
  return place === 'next' ? patch(state, event) : drift
}

/**
 * A `subscribed` or `reset` message.
 *
 * @param hasMoved what is held is not what the subscription was asked to begin from: an older snapshot must not undo it.
 */
export function applyStart(state: ValueState, recovered: boolean, hasMoved: boolean = false): ValueState {
  if (recovered && state.cursor !== null) return state
  return { ...state, takes: hasMoved && state.takes !== 'any' ? 'foreign' : 'any' }
}

/** What a REST answer says of the topic (R8). */
export interface RestAnswer {
  readonly cursor: string
  readonly hash: string
  readonly value: unknown
  /** The epoch that the client held when it sent the request. */
  readonly askedIn: string | null
}

/** A REST answer commutes with pushes: an old one never replaces a newer value (F24, F26). */
export function applyRest(state: ValueState, answer: RestAnswer): ValueStep {
  if (isStale(state, answer)) return { state, outcome: 'ignored' }
  const takes = state.takes === 'newer' ? 'newer' : 'foreign'
  if (answer.hash === state.hash) return { state: { ...state, cursor: answer.cursor, takes }, outcome: 'moved' }
  return { state: { cursor: answer.cursor, hash: answer.hash, value: answer.value, takes }, outcome: 'shown' }
}

function isStale(state: ValueState, answer: RestAnswer): boolean {
  if (state.cursor === null) return false
  const mine = parseCursor(state.cursor)
  const theirs = parseCursor(answer.cursor)
  if (theirs.epoch !== mine.epoch) return answer.askedIn !== mine.epoch
  return theirs.offset < mine.offset
}

/** Where an event stands to what is held. */
function placeOf(state: ValueState, event: EventMessage): 'any' | 'old' | 'next' | 'gap' {
  if (state.cursor === null || state.takes === 'any') return 'any'
  const mine = parseCursor(state.cursor)
  const theirs = parseCursor(event.cursor)
  if (theirs.epoch !== mine.epoch) return state.takes === 'foreign' ? 'any' : 'old'
  if (theirs.offset <= mine.offset) return 'old'
  return theirs.offset === mine.offset + 1 ? 'next' : 'gap'
}

function take(state: ValueState, event: EventMessage): ValueStep {
  const hash = event.hash ?? hashValue(event.data)
  const isSame = hash === state.hash
  const value = isSame ? state.value : event.data
  return { state: { cursor: event.cursor, hash, value, takes: 'newer' }, outcome: isSame ? 'moved' : 'shown' }
}

function patch(state: ValueState, event: EventMessage): ValueStep {
  const moved: ValueState = { ...state, cursor: event.cursor, takes: 'newer' }
  if (event.hash === state.hash) return { state: moved, outcome: 'moved' }
  try {
    const value = applyPatch(state.value, event.data as PatchOperation[])
    if (event.hash === undefined || hashValue(value) !== event.hash) return drift
    return { state: { ...moved, hash: event.hash, value }, outcome: 'shown' }
  } catch {
    return drift
  }
}

const drift: ValueStep = { state: emptyValue, outcome: 'drift' }
