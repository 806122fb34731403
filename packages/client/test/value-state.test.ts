import { formatCursor, hashValue, type EventMessage } from '@crossfade/protocol'
import { describe, expect, it } from 'vitest'
import { applyEvent, applyRest, applyStart, emptyValue, type ValueState } from '../src/topics/value-state.ts'

const epoch = 'aaaaaaaaaaaa'
const other = 'bbbbbbbbbbbb'
const at = (offset: number, of: string = epoch): string => formatCursor(of, offset)

function snapshot(offset: number, data: unknown, of: string = epoch): EventMessage {
  return { type: 'event', topic: 't', cursor: at(offset, of), event: 'snapshot', data, hash: hashValue(data), at: 0 }
}

/** A patch that sets `/n`. */
function patch(offset: number, n: number, hash: string = hashValue({ n })): EventMessage {
  const data = [{ op: 'replace', path: '/n', value: n }]
  return { type: 'event', topic: 't', cursor: at(offset), event: 'patch', data, hash, at: 0 }
}

function held(offset: number, n: number, takes: ValueState['takes'] = 'newer'): ValueState {
  return { cursor: at(offset), hash: hashValue({ n }), value: { n }, takes }
}

function rest(offset: number, n: number, of: string = epoch, askedIn: string | null = epoch) {
  return { cursor: at(offset, of), hash: hashValue({ n }), value: { n }, askedIn }
}

describe('a pushed entry', () => {
  it('is shown when it is the next patch (R7)', () => {
    const step = applyEvent(held(4, 1), patch(5, 2))
    expect(step.outcome).toBe('shown')
    expect(step.state).toMatchObject({ cursor: at(5), value: { n: 2 } })
  })

  it('is shown when it is a snapshot further on, whatever was skipped (R5)', () => {
    expect(applyEvent(held(4, 1), snapshot(9, { n: 2 })).outcome).toBe('shown')
  })

  it.each([3, 4])('is ignored at the same or a lower offset (%i, R7)', (offset) => {
    const state = held(4, 1)
    expect(applyEvent(state, snapshot(offset, { n: 0 }))).toEqual({ state, outcome: 'ignored' })
    expect(applyEvent(state, patch(offset, 0))).toEqual({ state, outcome: 'ignored' })
  })

  it('moves the cursor only when the value is the same', () => {
    const state = held(4, 1)
    for (const event of [snapshot(5, { n: 1 }), patch(5, 1)]) {
      const step = applyEvent(state, event)
      expect(step.outcome).toBe('moved')
      expect(step.state.value).toBe(state.value)
      expect(step.state.cursor).toBe(at(5))
    }
  })

  it('after a gap leaves the client where it stands, to subscribe again from there (R7)', () => {
    expect(applyEvent(held(4, 1), patch(6, 2))).toEqual({ state: held(4, 1), outcome: 'gap' })
  })

  it('that does not fit leaves the client where it stands, with the hash of what it has (R7)', () => {
    const list: ValueState = { cursor: at(4), hash: hashValue([1]), value: [1], takes: 'newer' }
    expect(applyEvent(list, patch(5, 2))).toEqual({ state: { ...list, misfit: true }, outcome: 'misfit' })
    const wrong = applyEvent(held(4, 1), patch(5, 2, '0000000000000000'))
    expect(wrong).toEqual({ state: { ...held(4, 1), misfit: true }, outcome: 'misfit' })
    const changed: ValueState = { ...held(4, 1), value: ['the page wrote into it'] }
    expect(applyEvent(changed, patch(5, 2)).state.hash).toBe(hashValue(changed.value))
  })

  it('that does not fit again costs the hash, so that the whole value comes (R6, R7)', () => {
    const { state } = applyEvent(held(4, 1), patch(5, 2, '0000000000000000'))
    const again = applyEvent(applyStart(state, true), patch(5, 2, '0000000000000000'))
    expect(again).toMatchObject({ outcome: 'misfit', state: { cursor: at(4), hash: null } })
    const whole = applyEvent(applyStart(again.state, true), snapshot(5, { n: 2 }))
    expect(whole).toEqual({ outcome: 'shown', state: held(5, 2) })
  })

  it('is taken whatever its offset when it is the first snapshot after recovered: false (R7)', () => {
    const step = applyEvent(applyStart(held(40, 1), false), snapshot(2, { n: 7 }, other))
    expect(step).toMatchObject({ outcome: 'shown', state: { cursor: at(2, other), takes: 'newer' } })
    expect(applyEvent(applyStart(held(40, 1), false), snapshot(2, { n: 7 })).outcome).toBe('shown')
  })

  it('is taken at the same offset, but at no lower one, when a recovered subscription begins with it (R7)', () => {
    const begun = applyStart(held(40, 1), true)
    expect(applyEvent(begun, snapshot(40, { n: 7 })).outcome).toBe('drift')
    expect(applyEvent(begun, snapshot(39, { n: 7 })).outcome).toBe('ignored')
    expect(applyEvent(begun, snapshot(50, { n: 7 }, other)).outcome).toBe('ignored')
    // The first one only.
    expect(applyEvent(applyEvent(begun, patch(41, 2)).state, snapshot(41, { n: 7 })).outcome).toBe('ignored')
    expect(applyEvent(applyRest(begun, rest(40, 2)).state, snapshot(40, { n: 7 })).outcome).toBe('ignored')
  })

  it('is drift when a subscription begins at the same place with another value (R8)', () => {
    expect(applyEvent(applyStart(held(4, 1), true), snapshot(4, { n: 7 }))).toEqual({
      outcome: 'drift',
      state: held(4, 7),
    })
    expect(applyEvent(applyStart(held(4, 1), true), snapshot(4, { n: 1 })).outcome).toBe('moved')
    const unknown: ValueState = { cursor: at(4), hash: null, value: undefined, takes: 'any' }
    expect(applyEvent(unknown, snapshot(4, { n: 1 })).outcome).toBe('shown')
  })

  it('that a subscription begins with does not undo an answer that came since it was asked for (R7, R8)', () => {
    const moved = applyStart(held(6, 3), false, true)
    expect(applyEvent(applyStart(held(6, 3), true, true), snapshot(6, { n: 2 })).outcome).toBe('ignored')
    expect(applyEvent(moved, snapshot(5, { n: 2 })).outcome).toBe('ignored')
    expect(applyEvent(moved, snapshot(6, { n: 2 })).outcome).toBe('ignored')
    expect(applyEvent(moved, snapshot(7, { n: 4 })).outcome).toBe('shown')
  })

  it('is the next patch also when a subscription begins (R7)', () => {
    expect(applyEvent(applyStart(held(4, 1), true), patch(5, 2))).toEqual({ outcome: 'shown', state: held(5, 2) })
  })

  it('of another epoch is ignored when nothing announced it', () => {
    expect(applyEvent(held(4, 1), snapshot(50, { n: 9 }, other)).outcome).toBe('ignored')
  })
})

describe('a REST answer (R8)', () => {
  it('with the same hash changes nothing but the cursor', () => {
    expect(applyRest(held(4, 1), rest(6, 1))).toMatchObject({ outcome: 'moved', state: { cursor: at(6) } })
  })

  it.each([4, 5])('with another hash at the same or a higher cursor replaces the value (%i)', (offset) => {
    expect(applyRest(held(4, 1), rest(offset, 2))).toMatchObject({ outcome: 'shown', state: { value: { n: 2 } } })
  })

  it('with a lower cursor is stale (F24, F26)', () => {
    const state = held(4, 1)
    expect(applyRest(state, rest(3, 0))).toEqual({ state, outcome: 'ignored' })
  })

  it('of another epoch counts only when it was asked for in the present one', () => {
    expect(applyRest(held(4, 1), rest(9, 0, other, other)).outcome).toBe('ignored')
    expect(applyRest(held(4, 1), rest(9, 0, other, null)).outcome).toBe('ignored')
    expect(applyRest(held(4, 1), rest(1, 2, other, epoch))).toMatchObject({
      outcome: 'shown',
      state: { cursor: at(1, other) },
    })
  })

  it('before the first snapshot is not undone by an older one', () => {
    const { state } = applyRest(emptyValue, rest(5, 2))
    expect(applyEvent(state, snapshot(5, { n: 1 })).outcome).toBe('ignored')
    expect(applyEvent(state, snapshot(6, { n: 3 })).outcome).toBe('shown')
    expect(applyEvent(state, snapshot(1, { n: 3 }, other)).outcome).toBe('shown')
  })
})
