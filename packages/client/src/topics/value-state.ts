import { applyPatch, hashValue, parseCursor, type EventMessage, type PatchOperation } from '@crossfade/protocol'

// What a client holds of a value topic, as pure transitions (R7, R8):
//
//   empty ── snapshot ──▶ held ── next patch / greater snapshot / REST answer ──▶ held
//                          │ ▲
//                          └─┘ a gap, or a patch that does not fit: it subscribes again from where it stands

/** The value that a client holds and where it stands. */
export interface ValueState {
  readonly cursor: string | null
  readonly hash: string | null
  readonly value: unknown
  /**
   * Which snapshot is taken (R7): `newer` – a greater one of the same epoch; `same` – not a lower one: a subscription begins from what is held;
   * `any` – whatever its offset: it begins anew; `foreign` – `newer`, or one of another epoch: it begins anew, but a REST answer came first.
   */
  readonly takes: 'newer' | 'same' | 'any' | 'foreign'
  /** A patch did not fit: if the next one does not either, the whole value is asked for. */
  readonly misfit?: true
}

/** What an event or answer did. */
export interface ValueStep {
  readonly state: ValueState
  /**
   * `shown`: another value. `moved`: the same value, further on. `ignored`: old. `drift`: another value in place of one that was wrong.
   * `gap`, `misfit`: subscribe again from this state; a misfit means that the value, or the patch, was wrong.
   */
  readonly outcome: 'shown' | 'moved' | 'ignored' | 'drift' | 'gap' | 'misfit'
}

export const emptyValue: ValueState = { cursor: null, hash: null, value: undefined, takes: 'any' }

/** A `snapshot` or `patch` event of the topic. */
export function applyEvent(state: ValueState, event: EventMessage): ValueStep {
  return event.event === 'snapshot' ? applySnapshot(state, event) : applyPatchEvent(state, event)
}

/**
 * A subscription begins, or begins anew by `reset`: what it begins with may be a snapshot in place of what is held (R7).
 *
 * @param recovered it begins from what is held.
 * @param hasMoved what is held is not what the subscription was asked to begin from: an older snapshot must not undo it.
 */
export function applyStart(state: ValueState, recovered: boolean, hasMoved: boolean = false): ValueState {
  if (!recovered || state.cursor === null)
    return { ...state, takes: hasMoved && state.takes !== 'any' ? 'foreign' : 'any' }
  return hasMoved || state.takes !== 'newer' ? state : { ...state, takes: 'same' }
}

/** What a REST answer says of the topic (R8). */
export interface RestAnswer {
  readonly cursor: string
  readonly hash: string
  readonly value: unknown
  /** The epoch that the client held when it sent the request. */
  readonly askedIn: string | null
}

/** What a REST answer did. */
export interface RestStep extends ValueStep {
  readonly outcome: 'shown' | 'moved' | 'ignored'
}

/** A REST answer commutes with pushes: an old one never replaces a newer value. */
export function applyRest(state: ValueState, answer: RestAnswer): RestStep {
  if (isStale(state, answer)) return { state, outcome: 'ignored' }
  const takes = state.takes === 'newer' || state.takes === 'same' ? 'newer' : 'foreign'
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

function applySnapshot(state: ValueState, event: EventMessage): ValueStep {
  const step = stepTo(state, event)
  if (!isTaken(state.takes, step)) return { state, outcome: 'ignored' }
  const hash = event.hash ?? hashValue(event.data)
  const isSame = hash === state.hash
  const value = isSame ? state.value : event.data
  const next: ValueState = { cursor: event.cursor, hash, value, takes: 'newer' }
  if (isSame) return { state: next, outcome: 'moved' }
  // The server read the endpoint again, and at the very same place the value is another one than was held (R8).
  return { state: next, outcome: step === 0 && state.hash !== null ? 'drift' : 'shown' }
}

function isTaken(takes: ValueState['takes'], step: number | null): boolean {
  if (step === null || takes === 'any') return true
  if (Number.isNaN(step)) return takes === 'foreign'
  return step > 0 || (step === 0 && takes === 'same')
}

function applyPatchEvent(state: ValueState, event: EventMessage): ValueStep {
  const step = stepTo(state, event)
  if (step === null || Number.isNaN(step) || step <= 0) return { state, outcome: 'ignored' }
  if (step > 1) return { state, outcome: 'gap' }
  const moved: ValueState = { cursor: event.cursor, hash: state.hash, value: state.value, takes: 'newer' }
  if (event.hash === state.hash) return { state: moved, outcome: 'moved' }
  const value = patched(state.value, event)
  if (value === misfit || event.hash === undefined) return { state: doubted(state), outcome: 'misfit' }
  return { state: { ...moved, hash: event.hash, value }, outcome: 'shown' }
}

/** How many events further on than what is held; `NaN` in another epoch, `null` when nothing is held. */
function stepTo(state: ValueState, event: EventMessage): number | null {
  if (state.cursor === null) return null
  const mine = parseCursor(state.cursor)
  const theirs = parseCursor(event.cursor)
  return theirs.epoch === mine.epoch ? theirs.offset - mine.offset : Number.NaN
}

const misfit = Symbol('misfit')

function patched(before: unknown, event: EventMessage): unknown {
  try {
    const value = applyPatch(before, event.data as PatchOperation[])
    return hashValue(value) === event.hash ? value : misfit
  } catch {
    return misfit
  }
}

/** The hash is taken anew, since the page may have changed the value in its place. If that was not it, the patch was wrong: no hash, no patches (R6). */
function doubted(state: ValueState): ValueState {
  return { ...state, hash: state.misfit ? null : hashOf(state.value), misfit: true }
}

function hashOf(value: unknown): string | null {
  try {
    return hashValue(value)
  } catch {
    return null
  }
}
