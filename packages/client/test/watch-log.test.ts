import type { EventMessage } from '@crossfade/protocol'
import { describe, expect, it } from 'vitest'
import { settle } from './manual-clock.ts'
import { cursorOf, WatchedEndpoint } from './watched-endpoint.ts'

describe('watch() of a log at push', () => {
  const append = (list: unknown, event: EventMessage): unknown => [...(list as unknown[]), event.data]
  const keys = (list: unknown): string[] => (list as number[]).map(String)

  async function log(options: object): Promise<WatchedEndpoint> {
    const endpoint = new WatchedEndpoint({ stage: 'push', kind: 'log', value: [1, 2] }, options)
    await settle()
    await endpoint.begin()
    return endpoint
  }

  it('appends each event once, in order', async () => {
    const endpoint = await log({ append, keys })
    await endpoint.event(1, 3, '3')
    await endpoint.event(1, 3, '3')
    await endpoint.event(2, 4, '4')
    expect(endpoint.shown).toEqual([
      [1, 2],
      [1, 2, 3],
      [1, 2, 3, 4],
    ])
  })

  it('drops by key what the answer had already (R4)', async () => {
    const endpoint = await log({ append, keys })
    await endpoint.event(1, 2, '2')
    await endpoint.event(2, 3, '3')
    expect(endpoint.shown).toEqual([
      [1, 2],
      [1, 2, 3],
    ])
  })

  it('keeps what comes while the list is read, and appends it after', async () => {
    const endpoint = await log({ append, keys })
    endpoint.isHeld = true
    const refresh = endpoint.watch.refresh()
    await settle()
    endpoint.write([1, 2, 3])
    await endpoint.event(1, 3, '3')
    await endpoint.release()
    await refresh
    await settle()
    expect(endpoint.shown.at(-1)).toEqual([1, 2, 3])
  })

  it('reads its endpoint once when history was lost (F20, R4)', async () => {
    const endpoint = await log({ append, keys })
    endpoint.write([1, 2, 3])
    await endpoint.tell({ type: 'reset', topic: 't', cursor: cursorOf(9), reason: 'trimmed' })
    await endpoint.clock.advance(1_000)
    expect(endpoint.requests).toHaveLength(2)
    expect(endpoint.shown.at(-1)).toEqual([1, 2, 3])
  })

  it('appends nothing to a list with a gap until it is read again, also when reads fail (R4)', async () => {
    const endpoint = await log({ append, keys })
    await endpoint.tell({ type: 'reset', topic: 't', cursor: cursorOf(3), reason: 'trimmed', wait: 4_000 })
    endpoint.status = 503
    endpoint.write([1, 2, 3, 4, 5, 6])
    await endpoint.event(4, 6, '6')
    await endpoint.clock.advance(5_000)
    expect(endpoint.shown.at(-1)).toEqual([1, 2])
    endpoint.status = 200
    endpoint.offset = 4
    await endpoint.event(5, 7, '7')
    await endpoint.clock.advance(10_000)
    expect(endpoint.shown.at(-1)).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(endpoint.shown).not.toContainEqual([1, 2, 6])
  })

  it('does not take a read that began before the loss for the list after it (R4)', async () => {
    const endpoint = await log({ append, keys })
    await endpoint.clock.advance(1_000)
    endpoint.isHeld = true
    void endpoint.watch.refresh()
    await settle()
    endpoint.isHeld = false
    await endpoint.tell({ type: 'reset', topic: 't', cursor: cursorOf(3), reason: 'trimmed', wait: 4_000 })
    await endpoint.event(4, 6, '6')
    await endpoint.release()
    expect(endpoint.shown).not.toContainEqual([1, 2, 6])
    endpoint.offset = 4
    endpoint.write([1, 2, 3, 4, 5, 6])
    await endpoint.clock.advance(4_000)
    expect(endpoint.shown.at(-1)).toEqual([1, 2, 3, 4, 5, 6])
  })

  it('sends no request beside those of its loop where a gap is left and push is gone', async () => {
    const endpoint = await log({ append, keys })
    endpoint.status = 503
    await endpoint.tell({ type: 'reset', topic: 't', cursor: cursorOf(3), reason: 'trimmed' })
    endpoint.isLive = false
    await endpoint.clock.advance(20_000)
    expect(endpoint.times.filter((at) => at > 5_000)).toEqual([10_000, 15_000, 20_000])
  })

  it('takes no list without a cursor for the newest while its subscription lives (R60, R62)', async () => {
    const endpoint = await log({ append, keys })
    await endpoint.event(1, 3, '3')
    endpoint.stage = null
    await endpoint.watch.refresh()
    await settle()
    // It was on its way before the event, and another process answered it.
    expect(endpoint.shown.at(-1)).toEqual([1, 2, 3])
    await endpoint.tell({ type: 'reset', topic: 't', cursor: cursorOf(9), reason: 'trimmed' })
    endpoint.value = [1, 2, 3, 4]
    await endpoint.clock.advance(1_000)
    expect(endpoint.shown.at(-1)).toEqual([1, 2, 3, 4])
    // Which events are in it nobody knows: it is asked for until an answer says so.
    await endpoint.event(10, 6, '6')
    expect(endpoint.shown.at(-1)).toEqual([1, 2, 3, 4])
    endpoint.stage = 'push'
    endpoint.offset = 10
    endpoint.write([1, 2, 3, 4, 5, 6])
    await endpoint.clock.advance(5_000)
    expect(endpoint.shown.at(-1)).toEqual([1, 2, 3, 4, 5, 6])
  })

  it('reads it at a time of its own within the wait, but no later than its loop would (R4)', async () => {
    const endpoint = await log({ append, keys })
    await endpoint.clock.advance(1_000)
    await endpoint.tell({ type: 'reset', topic: 't', cursor: cursorOf(9), reason: 'trimmed', wait: 4_000 })
    await endpoint.clock.advance(1_999)
    expect(endpoint.times).toEqual([0])
    await endpoint.clock.advance(1)
    expect(endpoint.times).toEqual([0, 3_000])
    await endpoint.tell({ type: 'reset', topic: 't', cursor: cursorOf(9), reason: 'trimmed', wait: 20_000 })
    await endpoint.clock.advance(2_500)
    expect(endpoint.times).toEqual([0, 3_000, 5_500])
  })

  it('finds out by the verifying read that an appended entry is gone', async () => {
    const endpoint = await log({ append, keys })
    endpoint.write([1, 2, 3])
    await endpoint.event(1, 3, '3')
    // An entry is deleted: the log tells of new ones only.
    endpoint.value = [1, 2]
    await endpoint.clock.advance(60_000)
    expect(endpoint.shown).toEqual([
      [1, 2],
      [1, 2, 3],
      [1, 2],
    ])
  })

  it('finds out by the read after a loss that an appended entry is gone (R4)', async () => {
    const endpoint = await log({ append, keys })
    endpoint.write([1, 2, 3])
    await endpoint.event(1, 3, '3')
    endpoint.value = [1, 2]
    await endpoint.tell({ type: 'reset', topic: 't', cursor: cursorOf(1), reason: 'trimmed' })
    await endpoint.clock.advance(1_000)
    expect(endpoint.shown.at(-1)).toEqual([1, 2])
  })

  it('pays no body for the verifying read as long as nothing is appended', async () => {
    const endpoint = await log({ append, keys })
    await endpoint.clock.advance(60_000)
    expect(endpoint.requests.map(({ headers }) => headers.has('if-none-match'))).toEqual([false, true])
  })

  it('without append is told of changes only, and reads again, at most once a second', async () => {
    const endpoint = await log({})
    expect(endpoint.follows).toEqual(['t changes'])
    await endpoint.clock.advance(1_000)
    for (let offset = 1; offset <= 10; offset++) {
      endpoint.write(Array.from({ length: offset }, (_, n) => n))
      await endpoint.tell({ type: 'changed', topic: 't', cursor: cursorOf(offset), wait: 0 })
      await endpoint.clock.advance(100)
    }
    await endpoint.clock.advance(1_000)
    expect(endpoint.requests.length).toBeLessThanOrEqual(4)
    expect((endpoint.shown.at(-1) as unknown[]).length).toBe(10)
  })
})
