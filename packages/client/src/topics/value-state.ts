import { applyPatch, hashValue, parseCursor, type EventMessage, type PatchOperation } from '@crossfade/protocol'

// What a client holds of a value topic, as pure transitions (R7, R8):
//
//   empty ── snapshot ──▶ held ── next patch / greater snapshot ──▶ held
//     ▲                     │
//     └──── drift: a gap, a patch that does not apply, another hash ──┘

/** The value that a client holds and where it stands. */
export interface ValueState {
  readonly cursor: string | null
  readonly hash: string | null
  readonly value: unknown
  /** The first snapshot after `recovered: false`, `reset` or a subscription without cursor is always applied (R7). */
  readonly takesAny: boolean
}

/** What an event or answer did. */
export interface ValueStep {
  readonly state: ValueState
  /** `shown`: another value. `moved`: the same value, further on. `ignored`: old. `drift`: subscribe again without a cursor. */
  readonly outcome: 'shown' | 'moved' | 'ignored' | 'drift'
}

export const emptyValue: ValueState = { cursor: null, hash: null, value: undefined, takesAny: true }

/** An `event` message of the topic. */
export function applyEvent(state: ValueState, event: EventMessage): ValueStep {
  const isSnapshot = event.event === 'snapshot'
  if (state.takesAny || state.cursor === null) return isSnapshot ? take(state, event) : { state, outcome: 'ignored' }
  const mine = parseCursor(state.cursor)
  const theirs = parseCursor(event.cursor)
  if (theirs.epoch !== mine.epoch || theirs.offset <= mine.offset) return { state, outcome: 'ignored' }
  if (isSnapshot) return take(state, event)
  if (theirs.offset !== mine.offset + 1) return drift()
  return patch(state, event)
}

/** A `subscribed` or `reset` message. */
export function applyStart(state: ValueState, recovered: boolean): ValueState {
  return recovered && state.cursor !== null ? state : { ...state, takesAny: true }
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
  const held: ValueState = { cursor: answer.cursor, hash: answer.hash, value: answer.value, takesAny: false }
  if (state.cursor === null) return { state: held, outcome: 'shown' }
  const mine = parseCursor(state.cursor)
  const theirs = parseCursor(answer.cursor)
  if (theirs.epoch !== mine.epoch) {
    const isOld = answer.askedIn !== mine.epoch
    return isOld
      ? { state, outcome: 'ignored' }
      : { state: held, outcome: answer.hash === state.hash ? 'moved' : 'shown' }
  }
  if (theirs.offset < mine.offset) return { state, outcome: 'ignored' }
  if (answer.hash === state.hash) return { state: { ...state, cursor: answer.cursor }, outcome: 'moved' }
  return { state: held, outcome: 'shown' }
}

function take(state: ValueState, event: EventMessage): ValueStep {
  const hash = event.hash ?? hashValue(event.data)
  const held: ValueState = {
    cursor: event.cursor,
    hash,
    value: hash === state.hash ? state.value : event.data,
    takesAny: false,
  }
  return { state: held, outcome: hash === state.hash ? 'moved' : 'shown' }
}

function patch(state: ValueState, event: EventMessage): ValueStep {
  const moved = { ...state, cursor: event.cursor }
  if (event.hash === state.hash) return { state: moved, outcome: 'moved' }
  try {
    const value = applyPatch(state.value, event.data as PatchOperation[])
    if (event.hash === undefined || hashValue(value) !== event.hash) return drift()
    return { state: { ...moved, hash: event.hash, value }, outcome: 'shown' }
  } catch {
    return drift()
  }
}

function drift(): ValueStep {
  return { state: emptyValue, outcome: 'drift' }
}
