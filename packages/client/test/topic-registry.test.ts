import {
  formatCursor,
  hashValue,
  type CrossfadeError,
  type ErrorCode,
  type EventMessage,
  type ServerMessage,
} from '@crossfade/protocol'
import { beforeEach, describe, expect, it } from 'vitest'
import { TopicRegistry } from '../src/topics/topic-registry.ts'
import { ManualClock } from './manual-clock.ts'

const at = (offset: number): string => formatCursor('aaaaaaaaaaaa', offset)

let registry: TopicRegistry
let changes = 0
let drifts = 0
let clock: ManualClock

beforeEach(() => {
  changes = 0
  drifts = 0
  clock = new ManualClock()
  registry = new TopicRegistry(
    () => (changes += 1),
    () => (drifts += 1),
    { random: () => 1, setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout },
  )
})

function take(message: ServerMessage): void {
  const subscription = registry.get('t')
  if (subscription !== undefined) registry.take(message, { id: subscription.id, cursor: subscription.position.cursor })
}

function snapshot(offset: number, data: unknown): ServerMessage {
  return { type: 'event', topic: 't', cursor: at(offset), event: 'snapshot', data, hash: hashValue(data), at: 5 }
}

function said(offset: number): ServerMessage {
  return { type: 'event', topic: 't', cursor: at(offset), event: 'said', data: offset, at: 5 }
}

/** The server begins the log as it was asked for, before the event after this offset. */
function start(offset: number): void {
  take({ type: 'subscribed', topic: 't', kind: 'log', cursor: at(offset), recovered: true })
}

/** A follower that keeps what it is told. */
function follower() {
  const told: unknown[] = []
  const handlers = {
    onValue: (value: unknown) => told.push(value),
    onEvent: (event: EventMessage) => told.push(event.data),
    onChanged: () => told.push('changed'),
    onReset: () => told.push('reset'),
    onEnd: () => told.push('error'),
  }
  return { told, handlers }
}

describe('followers of one topic', () => {
  it('share one subscription', () => {
    const [a, b] = [follower(), follower()]
    registry.follow('t', {}, a.handlers)
    registry.follow('t', {}, b.handlers)
    take(snapshot(1, 'x'))
    expect([...registry.subscriptions()]).toHaveLength(1)
    expect([a.told, b.told]).toEqual([['x'], ['x']])
  })

  it('are told at once what is known when they come later', () => {
    registry.follow('t', {}, follower().handlers)
    take(snapshot(1, 'x'))
    const late = follower()
    registry.follow('t', {}, late.handlers)
    expect(late.told).toEqual(['x'])
  })

  it('are told of a newer answer that one of them brings (R8)', () => {
    const [a, b] = [follower(), follower()]
    registry.follow('t', { cursor: at(1), hash: hashValue('x'), value: 'x' }, a.handlers)
    registry.follow('t', { cursor: at(2), hash: hashValue('y'), value: 'y' }, b.handlers)
    expect([a.told, b.told]).toEqual([['y'], []])
  })

  it('with an older answer are told the newer value (F24)', () => {
    registry.follow('t', {}, follower().handlers)
    take(snapshot(5, 'new'))
    const late = follower()
    registry.follow('t', { cursor: at(4), hash: hashValue('old'), value: 'old' }, late.handlers)
    expect(late.told).toEqual(['new'])
  })

  it('of a log that stand further back are given what they lack, and the others nothing twice', () => {
    const [a, b] = [follower(), follower()]
    registry.follow('t', { cursor: at(3) }, a.handlers)
    take(said(4))
    registry.follow('t', { cursor: at(2) }, b.handlers)
    expect(registry.get('t')?.position.cursor).toBe(at(2))
    for (const offset of [3, 4, 5]) take(said(offset))
    expect([a.told, b.told]).toEqual([
      [4, 5],
      [3, 4, 5],
    ])
  })

  it('of a log that began at its head are not told what was before when it is told again (R2)', () => {
    const [a, hints, b] = [follower(), follower(), follower()]
    registry.follow('t', {}, a.handlers)
    registry.follow('t', { mode: 'changes' }, hints.handlers)
    start(5)
    registry.follow('t', { cursor: at(3) }, b.handlers)
    start(3)
    for (const offset of [4, 5, 6]) take(said(offset))
    expect([a.told, hints.told, b.told]).toEqual([[6], ['changed'], [4, 5, 6]])
  })

  it('of a log that want history get it, and the others nothing twice (R6)', () => {
    const [a, b] = [follower(), follower()]
    registry.follow('t', {}, a.handlers)
    start(5)
    registry.follow('t', { history: 2 }, b.handlers)
    expect(registry.get('t')?.position).toEqual({ history: 2 })
    start(3)
    for (const offset of [4, 5, 6]) take(said(offset))
    expect([a.told, b.told]).toEqual([[6], [4, 5, 6]])
  })

  it('of a log miss nothing when the history of another begins after where they stood (R2)', () => {
    const [a, b] = [follower(), follower()]
    registry.follow('t', {}, a.handlers)
    start(5)
    registry.follow('t', { history: 2 }, b.handlers)
    start(8)
    expect(registry.get('t')?.position).toEqual({ cursor: at(5) })
    start(5)
    for (const offset of [6, 7, 8, 9, 10]) take(said(offset))
    expect([a.told, b.told]).toEqual([
      [6, 7, 8, 9, 10],
      [6, 7, 8, 9, 10],
    ])
  })

  it('of a log each get as much history as they want, also before it begins', () => {
    registry.follow('t', { history: 3 }, follower().handlers)
    registry.follow('t', { history: 2 }, follower().handlers)
    expect(registry.get('t')?.position).toEqual({ history: 3 })
    registry.follow('t', { history: 9 }, follower().handlers)
    expect(registry.get('t')?.position).toEqual({ history: 9 })
  })

  it('want data and word of changes at once: the data is sent, and each gets its own', () => {
    const [events, hints] = [follower(), follower()]
    registry.follow('t', { mode: 'changes', cursor: at(1) }, hints.handlers)
    const end = registry.follow('t', { cursor: at(1), hash: hashValue('x'), value: 'x' }, events.handlers)
    expect(registry.get('t')?.position.mode).toBeUndefined()
    take(snapshot(2, 'y'))
    expect([events.told, hints.told]).toEqual([['y'], ['changed']])
    end()
    expect(registry.get('t')?.position.mode).toBe('changes')
  })

  it('that want word of changes hear of those before they came', () => {
    registry.follow('t', {}, follower().handlers)
    take(snapshot(3, 'x'))
    const [behind, upToDate] = [follower(), follower()]
    registry.follow('t', { mode: 'changes', cursor: at(2) }, behind.handlers)
    registry.follow('t', { mode: 'changes', cursor: at(3) }, upToDate.handlers)
    expect([behind.told, upToDate.told]).toEqual([['changed'], []])
  })

  it('end it when the last one leaves', () => {
    const end = registry.follow('t', {}, follower().handlers)
    const other = registry.follow('t', {}, follower().handlers)
    end()
    end()
    expect(registry.get('t')).toBeDefined()
    other()
    expect(registry.get('t')).toBeUndefined()
  })

  it('all hear that it was refused, and it is wanted no more (R54)', () => {
    const [a, b] = [follower(), follower()]
    registry.follow('t', {}, a.handlers)
    registry.follow('t', {}, b.handlers)
    const before = changes
    take({ type: 'error', topic: 't', code: 'forbidden', message: 'no' })
    expect([a.told, b.told]).toEqual([['error'], ['error']])
    expect(registry.get('t')).toBeUndefined()
    expect(changes).toBe(before + 1)
  })

  it.each([
    ['forbidden', 'forbidden'],
    ['expired', 'unauthenticated'],
    ['gone', 'unknown_topic'],
  ] as const)('are told why when the server ends it: %s', (code, told) => {
    const errors: CrossfadeError[] = []
    registry.follow('t', {}, { onEnd: (error) => errors.push(error) })
    take({ type: 'unsubscribed', topic: 't', code, message: 'so' })
    expect(errors.map((error) => error.code)).toEqual([told])
  })

  it('are not told of an end that they asked for', () => {
    const a = follower()
    registry.follow('t', {}, a.handlers)
    take({ type: 'unsubscribed', topic: 't', code: 'requested', message: 'so' })
    expect(a.told).toEqual([])
  })
})

describe('a subscription that is refused for the moment', () => {
  const refuse = (code: ErrorCode = 'server_error'): void => take({ type: 'error', topic: 't', code, message: 'no' })
  const id = (): string | undefined => registry.get('t')?.id

  it('is asked for again when the server said, however often it was refused (R40, R62)', async () => {
    registry.follow('t', { cursor: at(1) }, follower().handlers)
    for (let refusals = 0; refusals < 8; refusals++) {
      const before = changes
      take({ type: 'error', topic: 't', code: 'overloaded', message: 'no', retry: 1_000 })
      await clock.advance(999)
      expect(changes).toBe(before)
      await clock.advance(251)
      expect(changes).toBe(before + 1)
    }
  })

  it.each(['server_error', 'overloaded', 'too_fast'] as const)(
    'is asked for again from where it stood, and nobody hears of it (%s, R40)',
    async (code) => {
      const a = follower()
      registry.follow('t', { cursor: at(3) }, a.handlers)
      const before = id()
      refuse(code)
      expect(registry.get('t')).toMatchObject({ id: before, isWaiting: true, isLive: false })
      await clock.advance(5_750)
      expect(registry.get('t')).toMatchObject({ isWaiting: false, position: { cursor: at(3) } })
      expect(id()).not.toBe(before)
      expect([a.told, changes]).toEqual([[], 2])
    },
  )

  it('is not asked for at once when it was too fast', async () => {
    registry.follow('t', {}, follower().handlers)
    refuse('too_fast')
    await clock.advance(5_000)
    expect(registry.get('t')?.isWaiting).toBe(true)
  })

  it('is asked for ever more seldom until it begins (R40)', async () => {
    registry.follow('t', { cursor: at(3) }, follower().handlers)
    const wait = async (ms: number): Promise<void> => {
      refuse()
      await clock.advance(ms - 1)
      expect(registry.get('t')?.isWaiting).toBe(true)
      await clock.advance(1)
      expect(registry.get('t')?.isWaiting).toBe(false)
    }
    for (const ms of [750, 1_250, 2_250]) await wait(ms)
    take({ type: 'subscribed', topic: 't', kind: 'log', cursor: at(3), recovered: true })
    await wait(750)
  })

  it('is asked for in one go with the others that wait', () => {
    registry.follow('t', {}, follower().handlers)
    registry.follow('u', {}, follower().handlers)
    for (const topic of ['t', 'u']) {
      const asked = { id: registry.get(topic)?.id ?? '', cursor: undefined }
      registry.take({ type: 'error', topic, code: 'overloaded', message: 'no' }, asked)
    }
    expect(clock.pending).toBe(1)
  })

  it('keeps its time whatever is read meanwhile (R8)', () => {
    registry.follow('t', { cursor: at(1), hash: hashValue('x'), value: 'x' }, follower().handlers)
    refuse()
    const before = id()
    registry.rest('t', { cursor: at(2), hash: hashValue('y'), value: 'y', askedIn: null, at: 5 }, null)
    expect(registry.get('t')).toMatchObject({ id: before, isWaiting: true, position: { cursor: at(2) } })
  })

  it('is asked for no more when it was left', () => {
    const end = registry.follow('t', {}, follower().handlers)
    refuse()
    end()
    expect(clock.pending).toBe(0)
  })
})

describe('a subscription', () => {
  it('does not hear what belongs to an older one (PROTOCOL §5)', () => {
    const a = follower()
    registry.follow('t', {}, a.handlers)
    registry.take(snapshot(1, 'x'), { id: 'older', cursor: undefined })
    registry.take(snapshot(1, 'x'), undefined)
    expect(a.told).toEqual([])
  })

  it('of a log asks again from its cursor when events are missing (R2, R7)', () => {
    const a = follower()
    registry.follow('t', { cursor: at(1) }, a.handlers)
    const id = registry.get('t')?.id
    take(said(2))
    take(said(4))
    expect(a.told).toEqual([2])
    expect(registry.get('t')?.id).not.toBe(id)
    expect(registry.get('t')?.position).toEqual({ cursor: at(2) })
  })

  it('of a log announces a loss once and goes on behind it (R4, F20)', () => {
    const a = follower()
    registry.follow('t', { cursor: at(1) }, a.handlers)
    take({ type: 'subscribed', topic: 't', kind: 'log', cursor: at(7), recovered: false })
    take(said(8))
    expect(a.told).toEqual(['reset', 8])
  })

  it('of a log that another transport has brought on takes no loss from a position that it left', () => {
    const a = follower()
    registry.follow('t', { cursor: at(1) }, a.handlers)
    const asked = { id: registry.get('t')?.id ?? '', cursor: at(1) }
    take({ type: 'subscribed', topic: 't', kind: 'log', cursor: at(7), recovered: false })
    registry.take({ type: 'subscribed', topic: 't', kind: 'log', cursor: at(7), recovered: false }, asked)
    expect(a.told).toEqual(['reset'])
  })

  it('gives its hash only with its value: patches could not be applied without (R6)', () => {
    registry.follow('t', { cursor: at(1), hash: hashValue('x') }, follower().handlers)
    expect(registry.get('t')?.position).toEqual({ cursor: at(1) })
  })
})

describe('a topic that the server cannot vouch for', () => {
  it('is not live until it is fresh, and takes events meanwhile (R55)', () => {
    const { told, handlers } = follower()
    registry.follow('t', {}, handlers)
    take({ type: 'subscribed', topic: 't', kind: 'value', cursor: at(0), recovered: true })
    take(snapshot(1, 'x'))
    const isLive = (): boolean | undefined => registry.get('t')?.isLive
    expect(isLive()).toBe(true)
    take({ type: 'stale', topic: 't', since: 1, reason: 'rate_limited' })
    expect(isLive()).toBe(false)
    take(snapshot(2, 'y'))
    expect([isLive(), told]).toEqual([false, ['x', 'y']])
    take({ type: 'fresh', topic: 't', cursor: at(2) })
    expect([isLive(), told]).toEqual([true, ['x', 'y']])
  })
})

describe('after a gap', () => {
  const position = () => registry.get('t')?.position

  it('a value is asked for from where it stands, with its hash, and nothing is taken from the page (R7)', () => {
    const { told, handlers } = follower()
    registry.follow('t', {}, handlers)
    take({ type: 'subscribed', topic: 't', kind: 'value', cursor: at(0), recovered: true })
    take(snapshot(1, 'x'))
    const id = registry.get('t')?.id
    take({ ...snapshot(3, 'z'), event: 'patch', data: [{ op: 'replace', path: '', value: 'z' }] } as ServerMessage)
    expect(registry.get('t')?.id).not.toBe(id)
    expect(position()).toEqual({ cursor: at(1), hash: hashValue('x') })
    expect([told, drifts]).toEqual([['x'], 0])
  })

  it('a log is asked for from where it stands: no event is lost (R7)', () => {
    const { told, handlers } = follower()
    registry.follow('t', {}, handlers)
    start(1)
    take(said(2))
    take(said(4))
    expect(position()).toEqual({ cursor: at(2) })
    start(2)
    for (const offset of [3, 4]) take(said(offset))
    expect([told, drifts]).toEqual([[2, 3, 4], 0])
  })

  it('or a patch that does not fit it is drift, which is told (R7, R8)', () => {
    registry.follow('t', {}, follower().handlers)
    take({ type: 'subscribed', topic: 't', kind: 'value', cursor: at(0), recovered: true })
    take(snapshot(1, 'x'))
    take({ ...snapshot(2, 'y'), event: 'patch', data: [{ op: 'remove', path: '/n' }] } as ServerMessage)
    expect([position(), drifts]).toEqual([{ cursor: at(1), hash: hashValue('x') }, 1])
  })

  it('every poll is a subscription of its own: its first snapshot counts at the same place, too (R7, R8)', () => {
    const { told, handlers } = follower()
    registry.follow('t', { cursor: at(1), hash: hashValue('wrong'), value: 'wrong' }, handlers)
    const { id = '' } = registry.get('t') ?? {}
    registry.get('t')?.polled({ id, cursor: at(1) })
    take(snapshot(1, 'x'))
    expect([told, drifts]).toEqual([['x'], 1])
  })
})
