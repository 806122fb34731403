import type { EventMessage } from '@crossfade/protocol'
import { describe, expect, it } from 'vitest'
import { settle } from './manual-clock.ts'
import { cursorOf, WatchedEndpoint } from './watched-endpoint.ts'

describe('watch() at shadow', () => {
  async function shadow(): Promise<WatchedEndpoint> {
    const endpoint = new WatchedEndpoint({ stage: 'shadow' })
    await settle()
    await endpoint.begin()
    return endpoint
  }

  it('shows what the polls say, and nothing else', async () => {
    const endpoint = await shadow()
    endpoint.write({ n: 1 })
    await endpoint.push()
    expect(endpoint.shown).toEqual([{ n: 0 }])
    await endpoint.clock.advance(5_000)
    expect(endpoint.shown).toEqual([{ n: 0 }, { n: 1 }])
    expect(endpoint.follows).toEqual(['t events'])
  })

  it('counts polls that agree with what push shows, from the first', async () => {
    const endpoint = await shadow()
    await endpoint.clock.advance(5_000)
    endpoint.write({ n: 1 })
    await endpoint.push()
    await endpoint.clock.advance(5_000)
    expect(endpoint.watch.state.parity).toEqual({ agree: 2, disagree: 0, unsettled: 0 })
    expect(endpoint.parities).toHaveLength(2)
  })

  it('counts an answer that differs only in a field which the route ignores as one that agrees', async () => {
    const endpoint = new WatchedEndpoint({ stage: 'shadow', value: { n: 0 } })
    endpoint.ignored = 'at'
    await settle()
    await endpoint.begin()
    endpoint.value = { n: 0, at: 1 }
    await endpoint.clock.advance(5_000)
    expect(endpoint.watch.state.parity).toEqual({ agree: 1, disagree: 0, unsettled: 0 })
  })

  it('counts a change that push did not bring as a disagreement', async () => {
    const endpoint = await shadow()
    endpoint.write({ n: 1 })
    await endpoint.clock.advance(8_000)
    expect(endpoint.watch.state.parity).toEqual({ agree: 0, disagree: 1, unsettled: 0 })
  })

  it('allows push a grace, before and after', async () => {
    const endpoint = await shadow()
    endpoint.write({ n: 1 })
    await endpoint.clock.advance(5_000)
    await endpoint.push()
    await endpoint.clock.advance(3_000)
    expect(endpoint.watch.state.parity).toEqual({ agree: 1, disagree: 0, unsettled: 0 })
    endpoint.write({ n: 2 })
    await endpoint.clock.advance(2_000)
    await endpoint.push({ n: 3 }, 3)
    await endpoint.clock.advance(2_000)
    expect(endpoint.watch.state.parity).toEqual({ agree: 1, disagree: 0, unsettled: 1 })
  })

  it('says nothing of what it cannot know: push that is not connected', async () => {
    const endpoint = await shadow()
    endpoint.isLive = false
    endpoint.write({ n: 1 })
    await endpoint.clock.advance(8_000)
    expect(endpoint.watch.state.parity).toEqual({ agree: 0, disagree: 0, unsettled: 0 })
  })
})

describe('watch() of a log at shadow', () => {
  const append = (list: unknown, event: EventMessage): unknown => [...(list as unknown[]), event.data].slice(-3)
  const keys = (list: unknown): string[] => (list as number[]).map(String)

  async function shadow(options: object = { append, keys }): Promise<WatchedEndpoint> {
    const endpoint = new WatchedEndpoint({ stage: 'shadow', kind: 'log', value: [1, 2] }, options)
    await settle()
    await endpoint.begin()
    return endpoint
  }

  /** An entry of the list, and its event if push brings it. */
  async function say(endpoint: WatchedEndpoint, entry: number, isPushed = true): Promise<void> {
    endpoint.write([...(endpoint.value as number[]), entry].slice(-3))
    if (isPushed) await endpoint.event(endpoint.offset, entry, String(entry))
  }

  it('counts polls that answer what push would show, also when the list is cut at its beginning', async () => {
    const endpoint = await shadow()
    await endpoint.clock.advance(5_000)
    for (const entry of [3, 4]) {
      await say(endpoint, entry)
      await endpoint.clock.advance(5_000)
    }
    expect(endpoint.watch.state.parity).toEqual({ agree: 3, disagree: 0, unsettled: 0 })
    expect(endpoint.shown.at(-1)).toEqual([2, 3, 4])
    expect(endpoint.requests).toHaveLength(4)
  })

  it('counts an event that push did not bring as one disagreement, and goes on from there', async () => {
    const endpoint = await shadow()
    await say(endpoint, 3, false)
    await endpoint.clock.advance(8_000)
    expect(endpoint.watch.state.parity).toEqual({ agree: 0, disagree: 1, unsettled: 0 })
    endpoint.offset -= 1
    await say(endpoint, 4)
    await endpoint.clock.advance(5_000)
    expect(endpoint.watch.state.parity).toEqual({ agree: 1, disagree: 1, unsettled: 0 })
  })

  it('counts an event that no poll shows as a disagreement', async () => {
    const endpoint = await shadow()
    await endpoint.event(1, 9, '9')
    await endpoint.clock.advance(8_000)
    expect(endpoint.watch.state.parity).toEqual({ agree: 0, disagree: 1, unsettled: 0 })
  })

  it('allows push a grace, before and after, also where it never rests', async () => {
    const endpoint = await shadow()
    for (let entry = 3; entry < 40; entry++) {
      // The poll sees it half a second before push brings it, or after.
      endpoint.write([...(endpoint.value as number[]), entry].slice(-3))
      await endpoint.clock.advance(500)
      await endpoint.event(endpoint.offset, entry, String(entry))
      await endpoint.clock.advance(100)
    }
    await endpoint.clock.advance(2_000)
    const { agree, disagree, unsettled } = endpoint.watch.state.parity
    expect({ disagree, unsettled }).toEqual({ disagree: 0, unsettled: 0 })
    expect(agree).toBeGreaterThanOrEqual(4)
  })

  it('begins anew when history was lost (R4)', async () => {
    const endpoint = await shadow()
    endpoint.write([7, 8, 9])
    endpoint.offset = 9
    await endpoint.tell({ type: 'reset', topic: 't', cursor: cursorOf(9), reason: 'trimmed' })
    await endpoint.clock.advance(8_000)
    expect(endpoint.watch.state.parity).toEqual({ agree: 1, disagree: 0, unsettled: 0 })
  })

  it('keeps an append that changes the list in its place from the page, and tells of one that throws', async () => {
    const inPlace = (list: unknown, event: EventMessage): unknown => {
      if (event.data === 5) throw new Error('five')
      ;(list as unknown[]).push(event.data)
      return list
    }
    const endpoint = await shadow({ append: inPlace })
    await endpoint.event(1, 3, '3')
    expect(endpoint.shown).toEqual([[1, 2]])
    await endpoint.event(2, 5, '5')
    expect(endpoint.errors).toEqual([new Error('five')])
  })

  it('without append has nothing to compare', async () => {
    const endpoint = await shadow({})
    await say(endpoint, 3)
    await endpoint.clock.advance(20_000)
    expect(endpoint.parities).toEqual([])
  })
})
