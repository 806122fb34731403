import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  initialLink,
  stepLink,
  type LinkEvent,
  type LinkEventType,
  type LinkState,
  type Phase,
  type Step,
} from '../src/link/machine.ts'
import { statusOf } from '../src/link/status.ts'
import { defaultTiming } from '../src/timing.ts'
import { transportNames, type EndReason } from '../src/transports/transport.ts'

const now = 1_000_000
const inputs = { now, random: () => 0.5, timing: defaultTiming }

const events: { readonly [Type in LinkEventType]: LinkEvent } = {
  wanted: { type: 'wanted' },
  unwanted: { type: 'unwanted' },
  proved: { type: 'proved' },
  ended: { type: 'ended', reason: 'closed' },
  checked: { type: 'checked', reachable: true },
  timer: { type: 'timer' },
  climbed: { type: 'climbed', rung: 0 },
  climbFailed: { type: 'climbFailed' },
  wake: { type: 'wake' },
  sleep: { type: 'sleep' },
}

function stateIn(phase: Phase, changes: Partial<LinkState> = {}): LinkState {
  const retryAt = phase === 'waiting' ? now + 10_000 : null
  return { ...initialLink(transportNames), phase, rung: 1, liveSince: now - 60_000, retryAt, ...changes }
}

function step(phase: Phase, event: LinkEvent, changes: Partial<LinkState> = {}): Step {
  return stepLink(stateIn(phase, changes), event, inputs)
}

/** `phase: effects`, such as `opening: open sse`. */
function told({ state, effects }: Step): string {
  const words = effects.map((effect) => (effect.type === 'open' ? `open ${effect.transport}` : effect.type))
  return `${state.phase}: ${words.join(', ')}`
}

/** What each event does in each phase, on the second rung of the ladder; an empty cell: nothing at all. */
const table: { readonly [Name in Phase]: { readonly [Type in LinkEventType]: string } } = {
  idle: {
    wanted: 'opening: open sse',
    unwanted: '',
    proved: '',
    ended: '',
    checked: '',
    timer: '',
    climbed: '',
    climbFailed: '',
    wake: '',
    sleep: '',
  },
  opening: {
    wanted: '',
    unwanted: 'idle: close, stopClimbing',
    proved: 'live: climb',
    ended: 'checking: check',
    checked: '',
    timer: '',
    climbed: '',
    climbFailed: '',
    wake: '',
    sleep: 'asleep: close, stopClimbing',
  },
  checking: {
    wanted: '',
    unwanted: 'idle: close, stopClimbing',
    proved: '',
    ended: '',
    checked: 'opening: open longpoll',
    timer: '',
    climbed: '',
    climbFailed: '',
    wake: '',
    sleep: 'asleep: close, stopClimbing',
  },
  live: {
    wanted: '',
    unwanted: 'idle: close, stopClimbing',
    proved: '',
    ended: 'waiting: stopClimbing, wait',
    checked: '',
    timer: '',
    climbed: 'live: ',
    climbFailed: 'live: climb',
    wake: 'live: test',
    sleep: 'asleep: close, stopClimbing',
  },
  waiting: {
    wanted: '',
    unwanted: 'idle: close, stopClimbing',
    proved: '',
    ended: '',
    checked: '',
    timer: 'opening: open sse',
    climbed: '',
    climbFailed: '',
    wake: 'waiting: wait',
    sleep: 'asleep: close, stopClimbing',
  },
  asleep: {
    wanted: '',
    unwanted: 'idle: close, stopClimbing',
    proved: '',
    ended: '',
    checked: '',
    timer: '',
    climbed: '',
    climbFailed: '',
    wake: 'opening: open sse',
    sleep: '',
  },
  stopped: {
    wanted: '',
    unwanted: 'idle: close, stopClimbing',
    proved: '',
    ended: '',
    checked: '',
    timer: '',
    climbed: '',
    climbFailed: '',
    wake: '',
    sleep: '',
  },
}

const cells = Object.entries(table).flatMap(([phase, row]) =>
  Object.entries(row).map(([type, expected]) => [phase as Phase, type as LinkEventType, expected] as const),
)

describe('the table of the link', () => {
  it.each(cells)('%s · %s → %s', (phase, type, expected) => {
    const { state, effects } = step(phase, events[type])
    const isNothing = effects.length === 0 && JSON.stringify(state) === JSON.stringify(stateIn(phase))
    expect(isNothing ? '' : told({ state, effects })).toBe(expected)
  })
})

const reachable = { type: 'checked', reachable: true } as const
const wsBlocked = [{ type: 'ended', reason: 'ws-blocked' }, reachable] as const
const sseBlocked = [{ type: 'ended', reason: 'sse-blocked' }, reachable] as const

/** What worked ends, and then nothing answers. */
function down(reason: EndReason): LinkEvent[] {
  const ended: LinkEvent = { type: 'ended', reason }
  return [ended, { type: 'timer' }, ended, { type: 'checked', reachable: false }, { type: 'timer' }]
}

/** What the application is told from the first connection on, as `state transport: reason`, each once. */
function said(happens: readonly LinkEvent[]): string[] {
  let state = initialLink(transportNames)
  const lines: string[] = []
  for (const event of [{ type: 'wanted' } as const, ...happens]) {
    state = stepLink(state, event, inputs).state
    const { state: name, transport, reason } = statusOf(state)
    const line = `${name} ${transport}: ${reason}`
    if (line !== lines.at(-1)) lines.push(line)
  }
  return lines
}

describe('the link', () => {
  it('steps down when the transport fails and the server answers the probe (F1, F2)', () => {
    const failed = stepLink(stateIn('opening', { rung: 0 }), { type: 'ended', reason: 'ws-blocked' }, inputs)
    expect(told(failed)).toBe('checking: check')
    const checked = stepLink(failed.state, { type: 'checked', reachable: true }, inputs)
    expect(told(checked)).toBe('opening: open sse')
    expect(checked.state.reason).toBe('ws-blocked')
  })

  it('stays on its transport and backs off when the server is down (F9)', () => {
    const { state, effects } = step('checking', { type: 'checked', reachable: false }, { rung: 0, attempt: 2 })
    expect(state).toMatchObject({ phase: 'waiting', rung: 0, attempt: 3, reason: 'server-down' })
    expect(effects).toContainEqual({ type: 'wait', ms: 1250 })
  })

  it('steps down at once where a transport does not exist', () => {
    expect(told(step('opening', { type: 'ended', reason: 'unsupported' }, { rung: 0 }))).toBe('opening: open sse')
  })

  it('begins the ladder anew, later, when its last rung fails', () => {
    const { state } = step('checking', { type: 'checked', reachable: true }, { rung: 3, attempt: 4 })
    expect(state).toMatchObject({ phase: 'waiting', rung: 0, attempt: 5 })
  })

  it('takes one short life for an accident and two for a middlebox (F3)', () => {
    const short = { rung: 0, liveSince: now - 300 }
    const once = step('live', { type: 'ended', reason: 'closed' }, short)
    expect(told(once)).toBe('waiting: stopClimbing, wait')
    const twice = step('live', { type: 'ended', reason: 'closed' }, { ...short, shortLives: once.state.shortLives })
    expect(told(twice)).toBe('checking: stopClimbing, check')
    expect(twice.state.reason).toBe('unstable')
  })

  it('does not count lives that the server ended with bye (F8)', () => {
    const { state } = step(
      'live',
      { type: 'ended', reason: 'closed', retryMs: 0 },
      { liveSince: now - 100, shortLives: 1 },
    )
    expect(state).toMatchObject({ phase: 'waiting', rung: 1, shortLives: 1 })
  })

  it('comes back after the retry that the server asked for (R40)', () => {
    const { state } = step('live', { type: 'ended', reason: 'closed', retryMs: 8_000 })
    expect(state.retryAt).toBe(now + 9_000)
  })

  it('does not trust a server that always asks to come back at once (F7)', () => {
    const { effects } = step('opening', { type: 'ended', reason: 'closed', retryMs: 0 }, { attempt: 6 })
    expect(effects).toContainEqual({ type: 'wait', ms: 10_250 })
  })

  it('refreshes the token once, then backs off (F14)', () => {
    const first = step('live', { type: 'ended', reason: 'auth' })
    expect(told(first)).toBe('opening: stopClimbing, refreshToken, open sse')
    const second = stepLink(first.state, { type: 'ended', reason: 'auth' }, inputs)
    expect(told(second)).toBe('waiting: stopClimbing, wait')
    expect(second.state.reason).toBe('auth')
  })

  it('does not come back when the server says so', () => {
    expect(told(step('live', { type: 'ended', reason: 'refused', retryMs: null }))).toBe('stopped: stopClimbing')
  })

  it('steps down at once when a stream begins to buffer (F6b)', () => {
    expect(told(step('live', { type: 'ended', reason: 'sse-buffered' }))).toBe('checking: stopClimbing, check')
  })

  it('climbs at 15 s, ever later, and within two minutes (F25)', () => {
    const waits = [0, 1, 2, 3, 9].map((climbs) => {
      const { effects } = step('live', { type: 'climbFailed' }, { climbs: climbs - 1 })
      return effects.map((effect) => ('ms' in effect ? effect.ms : 0))[0]
    })
    expect(waits).toEqual([15_000, 30_000, 60_000, 120_000, 120_000].map((ms) => ms * 0.875))
  })

  it('says why it is not on a better transport, until it is (F25)', () => {
    const polls = said([...wsBlocked, ...sseBlocked, { type: 'proved' }])
    expect(polls.at(-1)).toBe('live longpoll: sse-blocked')
    // Of the transports above the stream only the WebSocket is blocked.
    const stream = [...wsBlocked, ...sseBlocked, { type: 'proved' }, { type: 'climbed', rung: 1 }] as const
    expect(said(stream).at(-1)).toBe('live sse: ws-blocked')
    expect(said([...stream, { type: 'climbed', rung: 0 }]).at(-1)).toBe('live websocket: null')
  })

  it('forgets that the server was down as soon as something works (F9)', () => {
    const happens = [
      ...wsBlocked,
      ...sseBlocked,
      { type: 'proved' },
      ...down('poll-failed'),
      { type: 'proved' },
    ] as const
    expect(said(happens)).toEqual([
      'connecting null: null',
      'connecting null: ws-blocked',
      'connecting null: sse-blocked',
      'live longpoll: sse-blocked',
      'polling endpoint: poll-failed',
      'polling endpoint: server-down',
      'live longpoll: sse-blocked',
    ])
  })

  it('blames a transport only when the server answers (F1, F9)', () => {
    const [failed] = wsBlocked
    const happens = [failed, { type: 'checked', reachable: false }, { type: 'timer' }, ...wsBlocked] as const
    expect(said(happens)).toEqual([
      'connecting null: null',
      'polling endpoint: server-down',
      'polling endpoint: ws-blocked',
    ])
  })

  it.each([
    [
      'a token that was refused',
      [
        { type: 'ended', reason: 'auth' },
        { type: 'ended', reason: 'auth' },
      ],
      'auth',
    ],
    ['an end that the server announced', [{ type: 'ended', reason: 'closed', retryMs: 100 }], 'closed'],
    ['an accident', [{ type: 'ended', reason: 'closed' }], 'closed'],
  ] as const)('%s is the reason for as long as nothing works', (_what, ends, reason) => {
    const happens = [...wsBlocked, { type: 'proved' }, ...ends, { type: 'timer' }, { type: 'proved' }] as const
    expect(said(happens).slice(-2)).toEqual([`polling endpoint: ${reason}`, 'live sse: ws-blocked'])
  })

  it.each(['sleep', 'unwanted'] as const)('what kept it from the server before %s is no news after it', (type) => {
    const { state } = step('waiting', { type }, { reason: 'server-down', failures: { 0: 'ws-blocked' } })
    const { state: back } = stepLink(state, { type: type === 'sleep' ? 'wake' : 'wanted' }, inputs)
    expect(back).toMatchObject({ phase: 'opening', rung: 1, reason: 'ws-blocked' })
  })
})

const anyEvent: fc.Arbitrary<LinkEvent> = fc.oneof(
  fc.constantFrom<LinkEvent>(
    { type: 'wanted' },
    { type: 'unwanted' },
    { type: 'proved' },
    { type: 'timer' },
    { type: 'climbFailed' },
    { type: 'wake' },
    { type: 'sleep' },
  ),
  fc.record({ type: fc.constant('checked' as const), reachable: fc.boolean() }),
  fc.record({
    type: fc.constant('ended' as const),
    reason: fc.constantFrom('closed', 'ws-blocked', 'sse-buffered', 'poll-failed', 'auth', 'unsupported'),
    retryMs: fc.constantFrom(undefined, 0, 1_000),
  }) as fc.Arbitrary<LinkEvent>,
)

/** What must hold after every step. */
function violations(before: LinkState, event: LinkEvent, { state, effects }: Step): string[] {
  const types = effects.map(({ type }) => type)
  const enters = (phase: Phase): boolean => state.phase === phase && before.phase !== phase
  const rules: { readonly [rule: string]: boolean } = {
    'the rung is on the ladder': transportNames[state.rung] !== undefined,
    'waiting, and only waiting, has an end': (state.retryAt !== null) === (state.phase === 'waiting'),
    'opening opens': !enters('opening') || types.includes('open'),
    'waiting waits': !enters('waiting') || types.includes('wait'),
    'only a proof makes it live': !enters('live') || event.type === 'proved',
    'what is not live does not climb':
      state.phase === 'live' || before.phase !== 'live' || types.includes('stopClimbing'),
  }
  return Object.keys(rules).filter((rule) => rules[rule] !== true)
}

/** What may come next. @param reasons why each rung ends. */
function possibleIn({ phase, rung }: LinkState, reasons: readonly EndReason[]): readonly LinkEvent[] {
  const end = { type: 'ended', reason: reasons[rung] ?? 'closed' } as const
  const ends: LinkEvent[] = [end, { type: 'ended', reason: 'auth' }, { ...end, retryMs: 100 }]
  const possible: { readonly [Name in Phase]: readonly LinkEvent[] } = {
    idle: [{ type: 'wanted' }],
    opening: [{ type: 'proved' }, ...ends],
    checking: [
      { type: 'checked', reachable: true },
      { type: 'checked', reachable: false },
    ],
    live: [...ends, ...transportNames.slice(0, rung).map((_, better) => ({ type: 'climbed' as const, rung: better }))],
    waiting: [{ type: 'timer' }],
    asleep: [{ type: 'wake' }],
    stopped: [],
  }
  return [...possible[phase], { type: 'sleep' }, { type: 'unwanted' }]
}

describe('whatever happens to the link', () => {
  it('the rung is on the ladder, an opening has its transport, and a waiting its timer', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyEvent, fc.nat(20_000)), { maxLength: 80 }), (happenings) => {
        let state = initialLink(transportNames)
        let at = now
        for (const [event, ms] of happenings) {
          at += ms
          const before = state
          const result = stepLink(state, event, { ...inputs, now: at })
          state = result.state
          expect(violations(before, event, result)).toEqual([])
        }
      }),
    )
  })

  it('a live link blames the transport above it, and on the best one nothing (F9, F25)', () => {
    const ends = ['ws-blocked', 'sse-blocked', 'poll-failed', 'poll-failed'] as const
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(), fc.nat(20_000)), { maxLength: 80, size: 'max' }), (happenings) => {
        let state = initialLink(transportNames)
        let at = now
        for (const [choice, ms] of happenings) {
          at += ms
          const possible = possibleIn(state, ends)
          const event = possible[choice % possible.length] as LinkEvent
          state = stepLink(state, event, { ...inputs, now: at }).state
          const above = state.rung === 0 ? [null] : [ends[state.rung - 1], 'unstable']
          expect(state.phase === 'live' ? above : [state.reason]).toContain(state.reason)
        }
      }),
    )
  })

  it('what fails is tried ever more seldom (F7, R40)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (tries, random) => {
        let { state } = stepLink(initialLink(['sse']), { type: 'wanted' }, { ...inputs, random: () => random })
        let waitedMs = 0
        for (let count = 0; count < tries; count++) {
          const own = { ...inputs, random: () => random }
          state = stepLink(state, { type: 'ended', reason: 'sse-blocked' }, own).state
          state = stepLink(state, { type: 'checked', reachable: true }, own).state
          waitedMs += (state.retryAt ?? now) - now
          state = stepLink(state, { type: 'timer' }, own).state
        }
        // Jitter may make one wait short, the sum of them grows with every try.
        const growth = Array.from({ length: tries }, (_, attempt) => Math.min(20_000, 500 * 2 ** attempt) * random)
        expect(waitedMs).toBeCloseTo(tries * 250 + growth.reduce((sum, ms) => sum + ms, 0), 3)
      }),
    )
  })
})
