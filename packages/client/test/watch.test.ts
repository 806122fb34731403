import type { CrossfadeError } from '@crossfade/protocol'
import { describe, expect, it } from 'vitest'
import { settle } from './manual-clock.ts'
import { cursorOf, WatchedEndpoint } from './watched-endpoint.ts'

const stage = (name: 'off' | 'shadow' | 'hint' | 'push', percent = 100) =>
  ({ stage: name, percent, rest: 'off' }) as const

/** A watch of an endpoint at `push`, with its first answer shown and its subscription begun. */
async function pushed(): Promise<WatchedEndpoint> {
  const endpoint = new WatchedEndpoint({ stage: 'push' })
  await settle()
  await endpoint.begin()
  return endpoint
}

describe('watch() at off', () => {
  it.each([null, 'off'] as const)('sends exactly the requests of the loop it replaced (header: %s)', async (header) => {
    const endpoint = new WatchedEndpoint({ stage: header })
    await endpoint.clock.advance(20_000)
    expect(endpoint.times).toEqual([0, 5_000, 10_000, 15_000, 20_000])
    expect(endpoint.requests.map(({ headers }) => [...headers])).toEqual([[], [], [], [], []])
    expect(endpoint.follows).toEqual([])
    expect(endpoint.shown).toHaveLength(5)
  })

  it('lets reads overlap when answers are slow, as the loop did', async () => {
    const endpoint = new WatchedEndpoint()
    endpoint.isHeld = true
    await endpoint.clock.advance(10_000)
    expect(endpoint.times).toEqual([0, 5_000, 10_000])
  })

  it('is where a client is whose bucket is above the percentage (PROTOCOL §10)', async () => {
    const endpoint = new WatchedEndpoint({ stage: 'push', percent: 0 })
    await endpoint.clock.advance(5_000)
    expect(endpoint.watch.state.stage).toBe('off')
    expect(endpoint.follows).toEqual([])
  })

  it('tells of errors and goes on', async () => {
    const endpoint = new WatchedEndpoint()
    endpoint.status = 500
    await endpoint.clock.advance(5_000)
    expect(endpoint.errors.map((error) => (error as CrossfadeError).code)).toEqual(['endpoint_failed'])
    endpoint.status = 200
    await endpoint.clock.advance(5_000)
    expect(endpoint.shown).toHaveLength(2)
  })

  it('sends no more when it was stopped', async () => {
    const endpoint = new WatchedEndpoint()
    await settle()
    endpoint.watch.stop()
    await endpoint.clock.advance(60_000)
    expect(endpoint.requests).toHaveLength(1)
    expect(endpoint.clock.pending).toBe(0)
  })
})

describe('watch() at hint', () => {
  async function hinted(): Promise<WatchedEndpoint> {
    const endpoint = new WatchedEndpoint({ stage: 'hint' })
    await settle()
    await endpoint.begin()
    return endpoint
  }

  it('re-reads after a random part of the wait, with If-None-Match', async () => {
    const endpoint = await hinted()
    await endpoint.clock.advance(2_000)
    endpoint.write({ n: 1 })
    await endpoint.tell({ type: 'changed', topic: 't', cursor: cursorOf(1), wait: 1_000 })
    await endpoint.clock.advance(499)
    expect(endpoint.requests).toHaveLength(1)
    await endpoint.clock.advance(1)
    expect(endpoint.shown).toEqual([{ n: 0 }, { n: 1 }])
    expect(endpoint.requests[1]?.headers.get('if-none-match')).toMatch(/^W\//)
    expect(endpoint.follows).toEqual(['t changes'])
  })

  it('does not poll while push is live', async () => {
    const endpoint = await hinted()
    await endpoint.clock.advance(30_000)
    expect(endpoint.requests).toHaveLength(1)
  })

  it('reads at most once a second however often it is told, and the last change too', async () => {
    const endpoint = await hinted()
    for (let n = 1; n <= 30; n++) {
      endpoint.write({ n })
      await endpoint.tell({ type: 'changed', topic: 't', cursor: cursorOf(n), wait: 0 })
      await endpoint.clock.advance(100)
    }
    await endpoint.clock.advance(1_000)
    expect(endpoint.requests.length).toBeLessThanOrEqual(5)
    expect(endpoint.shown.at(-1)).toEqual({ n: 30 })
  })
})

describe('watch() at push', () => {
  it('paints the first answer and resumes from it', async () => {
    const endpoint = await pushed()
    expect(endpoint.shown).toEqual([{ n: 0 }])
    expect(endpoint.beginning).toMatchObject({ cursor: cursorOf(0), value: { n: 0 }, mode: 'events' })
  })

  it('shows what is pushed, and polls no more', async () => {
    const endpoint = await pushed()
    endpoint.write({ n: 1 })
    await endpoint.push()
    await endpoint.clock.advance(30_000)
    expect(endpoint.shown).toEqual([{ n: 0 }, { n: 1 }])
    expect(endpoint.infos[1]).toEqual({ source: 'push', transport: 'websocket', at: 1, cursor: cursorOf(1) })
    expect(endpoint.requests).toHaveLength(1)
  })

  it('passes pushed values through the same read', async () => {
    const read = async (response: Response): Promise<number> => ((await response.json()) as { n: number }).n * 10
    const endpoint = new WatchedEndpoint<number>({ stage: 'push' }, { read })
    await settle()
    await endpoint.push({ n: 7 }, 1)
    expect(endpoint.shown).toEqual([0, 70])
  })

  it('verifies now and then, and pays no body for it', async () => {
    const endpoint = await pushed()
    await endpoint.clock.advance(60_000)
    expect(endpoint.times).toEqual([0, 60_000])
    expect(endpoint.requests[1]?.headers.has('if-none-match')).toBe(true)
    expect(endpoint.shown).toHaveLength(1)
  })

  it('polls at its own interval when nothing carries push, and stops when something does again', async () => {
    const endpoint = await pushed()
    endpoint.isLive = false
    await endpoint.clock.advance(10_000)
    endpoint.isLive = true
    await endpoint.clock.advance(20_000)
    expect(endpoint.times).toEqual([0, 5_000, 10_000])
  })

  it('does not let a slow poll undo a newer push (F24, R8)', async () => {
    const endpoint = await pushed()
    endpoint.isHeld = true
    const refresh = endpoint.watch.refresh()
    await settle()
    endpoint.write({ n: 1 })
    await endpoint.push()
    await endpoint.release()
    await refresh
    expect(endpoint.shown).toEqual([{ n: 0 }, { n: 1 }])
  })

  it('polls when the server refuses the topic, and does not ask again at once (R54)', async () => {
    const endpoint = await pushed()
    await endpoint.tell({ type: 'error', topic: 't', code: 'forbidden', message: 'no' })
    await endpoint.clock.advance(10_000)
    expect(endpoint.errors.map((error) => (error as CrossfadeError).code)).toEqual(['forbidden'])
    expect(endpoint.times).toEqual([0, 0, 5_000, 10_000])
    expect(endpoint.follows).toEqual(['t events'])
    await endpoint.clock.advance(60_000)
    expect(endpoint.follows).toEqual(['t events', 't events'])
  })

  it('asks at once for another topic than the refused one, as of who has logged in meanwhile', async () => {
    const endpoint = await pushed()
    endpoint.topic = 'u'
    await endpoint.tell({ type: 'error', topic: 't', code: 'forbidden', message: 'no' })
    await settle()
    expect(endpoint.follows).toEqual(['t events', 'u events'])
  })

  it('polls while its topic fails, tells nobody of it, and comes back to push (R40)', async () => {
    const endpoint = await pushed()
    await endpoint.tell({ type: 'error', topic: 't', code: 'server_error', message: 'fails' })
    endpoint.write({ n: 1 })
    await endpoint.clock.advance(5_000)
    expect(endpoint.shown.at(-1)).toEqual({ n: 1 })
    await endpoint.begin()
    endpoint.write({ n: 2 })
    await endpoint.push()
    await endpoint.clock.advance(30_000)
    expect(endpoint.shown.at(-1)).toEqual({ n: 2 })
    expect(endpoint.times).toEqual([0, 5_000])
    expect(endpoint.errors).toEqual([])
  })

  it('shows a slow read before the value that came after it', async () => {
    let slow = true
    const read = async (response: Response): Promise<unknown> => {
      const value: unknown = await response.json()
      if (slow) await new Promise((resolve) => setTimeout(resolve, 20))
      slow = false
      return value
    }
    const endpoint = new WatchedEndpoint({ stage: 'push' }, { read })
    await settle()
    await endpoint.push({ n: 1 }, 1)
    await expect.poll(() => endpoint.shown).toEqual([{ n: 0 }, { n: 1 }])
  })
})

describe('the interval that a header says', () => {
  it("counts in place of the page's own, from the next one on (R10)", async () => {
    const endpoint = new WatchedEndpoint({ stage: 'off' })
    endpoint.every = 20_000
    await settle()
    await endpoint.clock.advance(60_000)
    // The first answer did not say it yet.
    expect(endpoint.times).toEqual([0, 5_000, 10_000, 30_000, 50_000])
    endpoint.every = null
    await endpoint.clock.advance(40_000)
    expect(endpoint.times.slice(5)).toEqual([70_000, 90_000, 95_000, 100_000])
  })
})

describe('watch() between stages', () => {
  it('goes from off to push with its next poll (R61)', async () => {
    const endpoint = new WatchedEndpoint({ stage: 'off' })
    await settle()
    endpoint.stage = 'push'
    await endpoint.clock.advance(5_000)
    expect(endpoint.watch.state.stage).toBe('push')
    expect(endpoint.follows).toEqual(['t events'])
  })

  it('leaves push when told: polls first, then ends the subscription, within the spread (R60)', async () => {
    const endpoint = await pushed()
    endpoint.stage = 'off'
    endpoint.write({ n: 1 })
    endpoint.watch.onStage('f', stage('off'), 1_000)
    await endpoint.clock.advance(499)
    expect(endpoint.follows).toEqual(['t events'])
    await endpoint.clock.advance(1)
    expect(endpoint.follows).toEqual(['t events', 'end'])
    expect(endpoint.shown.at(-1)).toEqual({ n: 1 })
    await endpoint.clock.advance(10_000)
    expect(endpoint.times).toEqual([0, 500, 5_000, 10_000])
  })

  it('leaves push when a poll says so, without another request', async () => {
    const endpoint = await pushed()
    endpoint.isLive = false
    endpoint.stage = 'off'
    await endpoint.clock.advance(5_000)
    expect(endpoint.follows).toEqual(['t events', 'end'])
    expect(endpoint.times).toEqual([0, 5_000])
  })

  it('subscribes the new way before the old one ends', async () => {
    const endpoint = await pushed()
    endpoint.watch.onStage('f', stage('hint'), 0)
    await endpoint.clock.advance(0)
    expect(endpoint.follows).toEqual(['t events', 't changes', 'end'])
  })

  it('takes a missing header for a kill only the second time (R60)', async () => {
    const endpoint = await pushed()
    endpoint.isLive = false
    endpoint.stage = null
    await endpoint.clock.advance(5_000)
    expect(endpoint.watch.state.stage).toBe('push')
    await endpoint.clock.advance(5_000)
    expect(endpoint.watch.state.stage).toBe('off')
  })

  it('follows on where every other answer has no header, as behind two processes of which one stands by (R60, R62)', async () => {
    const endpoint = await pushed()
    endpoint.isLive = false
    for (let second = 0; second < 30; second++) {
      // Two in a row without, now and then.
      endpoint.stage = second % 4 === 0 ? 'push' : null
      await endpoint.clock.advance(1_000)
      await endpoint.watch.refresh()
    }
    expect(endpoint.follows).toEqual(['t events'])
    expect(endpoint.watch.state.stage).toBe('push')
  })

  it('does not take missing headers for a kill while its subscription lives, nor such an answer for news (R60, R62)', async () => {
    const endpoint = await pushed()
    endpoint.stage = null
    endpoint.value = { n: -1 }
    for (let reads = 0; reads < 4; reads++) {
      await endpoint.clock.advance(5_000)
      await endpoint.watch.refresh()
    }
    expect(endpoint.watch.state).toMatchObject({ stage: 'push', live: true })
    expect(endpoint.follows).toEqual(['t events'])
    expect(endpoint.shown).not.toContainEqual({ n: -1 })
    // What came while it lived, or shortly afterwards, does not count.
    endpoint.isLive = false
    for (let reads = 0; reads < 4; reads++) await endpoint.watch.refresh()
    await settle()
    expect(endpoint.watch.state.stage).toBe('push')
    expect(endpoint.shown).toContainEqual({ n: -1 })
    await endpoint.clock.advance(10_000)
    expect(endpoint.watch.state.stage).toBe('off')
  })

  it('does not take an error page for a kill (R60)', async () => {
    const endpoint = await pushed()
    endpoint.isLive = false
    endpoint.status = 502
    await endpoint.clock.advance(30_000)
    expect(endpoint.watch.state.stage).toBe('push')
  })

  it('is not led back by an answer that was on its way when it was told (R61)', async () => {
    const endpoint = await pushed()
    endpoint.isHeld = true
    void endpoint.watch.refresh()
    await endpoint.clock.advance(100)
    endpoint.isLive = false
    endpoint.told('off')
    await endpoint.clock.advance(0)
    // The old answer, and that which it reads because it was told: from a cache.
    await endpoint.release()
    await endpoint.release()
    expect(endpoint.watch.state.stage).toBe('off')
    expect(endpoint.follows).toEqual(['t events', 'end'])
  })

  it('stays where it was told to be while a cache answers with the old stage (R61)', async () => {
    const endpoint = await pushed()
    endpoint.isLive = false
    endpoint.told('off', 1_000)
    await endpoint.clock.advance(30_000)
    expect(endpoint.watch.state.stage).toBe('off')
    expect(endpoint.times).toEqual([0, 500, 5_000, 10_000, 15_000, 20_000, 25_000, 30_000])
  })

  it('does not listen to the stages of other features', async () => {
    const endpoint = await pushed()
    endpoint.watch.onStage('other', stage('off'), 0)
    await endpoint.clock.advance(0)
    expect(endpoint.watch.state.stage).toBe('push')
  })

  it('loses no change between shadow and hint: push had it, the page had not', async () => {
    const endpoint = new WatchedEndpoint({ stage: 'shadow' })
    await settle()
    await endpoint.begin()
    endpoint.write({ n: 1 })
    await endpoint.push()
    endpoint.stage = 'hint'
    endpoint.watch.onStage('f', stage('hint'), 0)
    await endpoint.clock.advance(1_000)
    expect(endpoint.shown.at(-1)).toEqual({ n: 1 })
  })

  it('loses no change between hint and push', async () => {
    const endpoint = new WatchedEndpoint({ stage: 'hint' })
    await settle()
    await endpoint.begin()
    endpoint.write({ n: 1 })
    endpoint.watch.onStage('f', stage('push'), 0)
    endpoint.stage = 'push'
    await endpoint.clock.advance(0)
    expect(endpoint.topics.get('t')?.position).toMatchObject({ cursor: cursorOf(0), hash: expect.any(String) })
    await endpoint.push()
    expect(endpoint.shown.at(-1)).toEqual({ n: 1 })
  })
})
