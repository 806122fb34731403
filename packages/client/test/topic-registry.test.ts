import { formatCursor, hashValue, type EventMessage, type ServerMessage } from '@crossfade/protocol'
import { beforeEach, describe, expect, it } from 'vitest'
import { TopicRegistry } from '../src/topics/topic-registry.ts'

const at = (offset: number): string => formatCursor('aaaaaaaaaaaa', offset)

let registry: TopicRegistry
let changes = 0

beforeEach(() => {
  changes = 0
  registry = new TopicRegistry(
    () => (changes += 1),
    () => {},
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

/** A follower that keeps what it is told. */
function follower() {
  const told: unknown[] = []
  const handlers = {
    onValue: (value: unknown) => told.push(value),
    onEvent: (event: EventMessage) => told.push(event.data),
    onChanged: () => told.push('changed'),
    onReset: () => told.push('reset'),
    onEnd: (error: Error | null) => told.push(error === null ? 'end' : 'error'),
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

  it('take no error for it when the stage ended it', () => {
    const a = follower()
    registry.follow('t', {}, a.handlers)
    take({ type: 'unsubscribed', topic: 't', code: 'stage', message: 'off' })
    expect(a.told).toEqual(['end'])
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
