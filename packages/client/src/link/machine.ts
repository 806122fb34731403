import { backoffMs, spreadMs } from '../backoff.ts'
import type { Timing } from '../timing.ts'
import type { EndReason, TransportName } from '../transports/transport.ts'

// The life of the connection, as a pure function: time and randomness are inputs, what is to be done comes out.
//
//            wanted                proved                 ended by bye
//   idle ───────────▶ opening ───────────────▶ live ────────────────────▶ waiting
//    ▲                 │   ▲                    │  ▲                        │  │
//    │ unwanted        │   │ reachable:         │  └── a better transport   │  │ timer, wake
//    │ (from any)      │   │ one rung down      │      proved: climbed      │  ▼
//    │                 ▼   │                    ▼                           └▶ opening
//    └──────────────  checking  ◀─── short lives ended
//                          │
//                          └── unreachable: waiting, on the same rung
//
// `asleep` is a page that was put away; `stopped` was refused for good.

export type Phase = 'idle' | 'opening' | 'checking' | 'live' | 'waiting' | 'asleep' | 'stopped'

/** Why the client is not on a better transport, or on none. */
export type Reason = EndReason | 'server-down' | 'unstable'

export interface LinkState {
  readonly phase: Phase
  /** The ladder, best first. */
  readonly ladder: readonly TransportName[]
  /** Where on the ladder it stands. */
  readonly rung: number
  /** Failed tries since it last worked. */
  readonly attempt: number
  readonly shortLives: number
  /** Tries of a better transport since it stepped down. */
  readonly climbs: number
  readonly liveSince: number
  /** Why it is not on a better transport, or has none: what is so now, not what was. */
  readonly reason: Reason | null
  /** By rung, why it failed the last time: the reason again when the rung below it works. */
  readonly failures: { readonly [rung: number]: Reason }
  /** One token refresh was tried since it last worked. */
  readonly refreshed: boolean
  readonly retryAt: number | null
}

export type LinkEvent =
  | { readonly type: 'wanted' }
  | { readonly type: 'unwanted' }
  | { readonly type: 'proved' }
  | { readonly type: 'ended'; readonly reason: EndReason; readonly retryMs?: number | null }
  | { readonly type: 'checked'; readonly reachable: boolean }
  | { readonly type: 'timer' }
  | { readonly type: 'climbed'; readonly rung: number }
  | { readonly type: 'climbFailed' }
  | { readonly type: 'wake' }
  | { readonly type: 'sleep' }

export type LinkEventType = LinkEvent['type']

export type LinkEffect =
  | { readonly type: 'open'; readonly transport: TransportName }
  | { readonly type: 'close' }
  /** Ask the probe whether the server answers plain HTTP. */
  | { readonly type: 'check' }
  | { readonly type: 'wait'; readonly ms: number }
  /** Try better transports in the background after this time. */
  | { readonly type: 'climb'; readonly ms: number }
  | { readonly type: 'stopClimbing' }
  | { readonly type: 'refreshToken' }
  /** Find out now whether the connection still lives. */
  | { readonly type: 'test' }

export interface Inputs {
  readonly now: number
  readonly random: () => number
  readonly timing: Timing
}

export interface Step {
  readonly state: LinkState
  readonly effects: readonly LinkEffect[]
}

type Handler<Type extends LinkEventType> = (
  state: LinkState,
  event: Extract<LinkEvent, { type: Type }>,
  inputs: Inputs,
) => Step
type Row = { readonly [Type in LinkEventType]: Handler<Type> }

export function initialLink(ladder: readonly TransportName[]): LinkState {
  return {
    phase: 'idle',
    ladder,
    rung: 0,
    attempt: 0,
    shortLives: 0,
    climbs: 0,
    liveSince: 0,
    reason: null,
    failures: {},
    refreshed: false,
    retryAt: null,
  }
}

/** What happens next. */
export function stepLink(state: LinkState, event: LinkEvent, inputs: Inputs): Step {
  const handle = table[state.phase][event.type] as Handler<LinkEventType>
  return handle(state, event, inputs)
}

const stay = (state: LinkState): Step => ({ state, effects: [] })

const open = (state: LinkState): Step => {
  const transport = state.ladder[state.rung]
  if (transport === undefined) return stay(state)
  return { state: { ...state, phase: 'opening', retryAt: null }, effects: [{ type: 'open', transport }] }
}

/** With the reason why it is not one rung higher. */
const explained = (state: LinkState): LinkState => ({ ...state, reason: state.failures[state.rung - 1] ?? null })

/** What else kept it from the server does not matter any more when it comes back. */
const rest = (state: LinkState, phase: Phase): Step => ({
  state: { ...explained(state), phase, retryAt: null },
  effects: [{ type: 'close' }, { type: 'stopClimbing' }],
})

const toIdle = (state: LinkState): Step => rest(state, 'idle')
const toSleep = (state: LinkState): Step => rest(state, 'asleep')

function wait(state: LinkState, ms: number, inputs: Inputs): Step {
  return {
    state: { ...state, phase: 'waiting', attempt: state.attempt + 1, retryAt: inputs.now + ms },
    effects: [{ type: 'stopClimbing' }, { type: 'wait', ms }],
  }
}

const backOff = (state: LinkState, inputs: Inputs): Step => wait(state, backoffMs(state.attempt, inputs.random), inputs)

/** The server said when to come back, that the token is bad, or not to come back: the transport is not to blame. */
function announced(state: LinkState, event: Extract<LinkEvent, { type: 'ended' }>, inputs: Inputs): Step | null {
  if (event.reason === 'auth') {
    if (state.refreshed) return backOff({ ...state, reason: 'auth' }, inputs)
    const next = open({ ...state, refreshed: true })
    return { ...next, effects: [{ type: 'stopClimbing' }, { type: 'refreshToken' }, ...next.effects] }
  }
  if (event.retryMs === null) {
    return { state: { ...state, phase: 'stopped', reason: 'refused' }, effects: [{ type: 'stopClimbing' }] }
  }
  return event.retryMs === undefined ? null : comeBack(state, event.retryMs, inputs)
}

/** Not before the server asked for; and ever later when what comes in between never works. */
function comeBack(state: LinkState, retryMs: number, inputs: Inputs): Step {
  const askedMs = spreadMs(retryMs, inputs.random)
  const ms = state.attempt === 0 ? askedMs : Math.max(askedMs, backoffMs(state.attempt, inputs.random))
  return wait({ ...state, reason: 'closed' }, ms, inputs)
}

/** The rung is at fault if the server answers, which is not known yet. */
const blame = (state: LinkState, reason: Reason): LinkState => ({
  ...state,
  phase: 'checking',
  failures: { ...state.failures, [state.rung]: reason },
})

/** A transport that never worked: either it is blocked or the server is down, and only a plain request tells which. */
const failedToOpen: Handler<'ended'> = (state, event, inputs) => {
  const step = announced(state, event, inputs)
  if (step !== null) return step
  const blamed = blame(state, event.reason)
  return event.reason === 'unsupported' ? stepDown(blamed, inputs) : { state: blamed, effects: [{ type: 'check' }] }
}

/** A transport that worked has ended: once may be an accident, short lives in a row are a middlebox. */
const ended: Handler<'ended'> = (state, event, inputs) => {
  const step = announced(state, event, inputs)
  if (step !== null) return step
  const wasShort = inputs.now - state.liveSince < inputs.timing.shortLifeMs
  const shortLives = wasShort ? state.shortLives + 1 : 0
  const isBuffered = event.reason === 'sse-buffered'
  if (isBuffered || shortLives >= inputs.timing.shortLives) {
    const reason = isBuffered ? 'sse-buffered' : 'unstable'
    return {
      state: blame({ ...state, shortLives, reason }, reason),
      effects: [{ type: 'stopClimbing' }, { type: 'check' }],
    }
  }
  return backOff({ ...state, shortLives, reason: event.reason }, inputs)
}

/** Below the last rung the ladder begins anew, later: what blocked the better ones may have ended meanwhile. */
function stepDown(state: LinkState, inputs: Inputs): Step {
  const rung = state.rung + 1
  const next = explained({ ...state, rung, shortLives: 0 })
  return rung < state.ladder.length ? open(next) : backOff({ ...next, rung: 0 }, inputs)
}

const checked: Handler<'checked'> = (state, event, inputs) =>
  event.reachable ? stepDown(state, inputs) : backOff({ ...state, reason: 'server-down' }, inputs)

/** It works. What was wrong with the better ones stays the reason until one of them works. */
const proved: Handler<'proved'> = (state, _event, inputs) => {
  const isBest = state.rung === 0
  return {
    state: {
      ...explained(state),
      phase: 'live',
      attempt: 0,
      refreshed: false,
      liveSince: inputs.now,
      climbs: isBest ? 0 : state.climbs,
    },
    effects: isBest ? [] : [{ type: 'climb', ms: climbMs(state.climbs, inputs) }],
  }
}

function climbMs(climbs: number, { timing, random }: Inputs): number {
  return Math.min(timing.maxClimbMs, timing.climbMs * 2 ** climbs) * (0.75 + random() * 0.25)
}

const climbed: Handler<'climbed'> = (state, { rung }, inputs) =>
  proved({ ...state, rung, shortLives: 0 }, { type: 'proved' }, inputs)

const climbFailed: Handler<'climbFailed'> = (state, _event, inputs) => {
  const climbs = state.climbs + 1
  return { state: { ...state, climbs }, effects: [{ type: 'climb', ms: climbMs(climbs, inputs) }] }
}

/** Back from the cache or from sleep: the page is looked at, so at once. */
const resume = (state: LinkState): Step => open({ ...state, attempt: 0 })

/** The network may be back, for a whole office at the same moment: soon, but not all at once. */
const retrySoon: Handler<'wake'> = (state, _event, inputs) => {
  const ms = inputs.random() * 500
  if (state.retryAt !== null && state.retryAt <= inputs.now + ms) return stay(state)
  return { state: { ...state, attempt: 1, retryAt: inputs.now + ms }, effects: [{ type: 'wait', ms }] }
}

/** Waking proves nothing of the connection that was open before. */
const test = (state: LinkState): Step => ({ state, effects: [{ type: 'test' }] })

// No row and no cell may be missing: a new phase or event does not compile without its cells.
const table: { readonly [Name in Phase]: Row } = {
  idle: {
    wanted: open,
    unwanted: stay,
    proved: stay,
    ended: stay,
    checked: stay,
    timer: stay,
    climbed: stay,
    climbFailed: stay,
    wake: stay,
    sleep: stay,
  },
  opening: {
    wanted: stay,
    unwanted: toIdle,
    proved,
    ended: failedToOpen,
    checked: stay,
    timer: stay,
    climbed: stay,
    climbFailed: stay,
    wake: stay,
    sleep: toSleep,
  },
  checking: {
    wanted: stay,
    unwanted: toIdle,
    proved: stay,
    ended: stay,
    checked,
    timer: stay,
    climbed: stay,
    climbFailed: stay,
    wake: stay,
    sleep: toSleep,
  },
  live: {
    wanted: stay,
    unwanted: toIdle,
    proved: stay,
    ended,
    checked: stay,
    timer: stay,
    climbed,
    climbFailed,
    wake: test,
    sleep: toSleep,
  },
  waiting: {
    wanted: stay,
    unwanted: toIdle,
    proved: stay,
    ended: stay,
    checked: stay,
    timer: open,
    climbed: stay,
    climbFailed: stay,
    wake: retrySoon,
    sleep: toSleep,
  },
  asleep: {
    wanted: stay,
    unwanted: toIdle,
    proved: stay,
    ended: stay,
    checked: stay,
    timer: stay,
    climbed: stay,
    climbFailed: stay,
    wake: resume,
    sleep: stay,
  },
  stopped: {
    wanted: stay,
    unwanted: toIdle,
    proved: stay,
    ended: stay,
    checked: stay,
    timer: stay,
    climbed: stay,
    climbFailed: stay,
    wake: stay,
    sleep: stay,
  },
}
