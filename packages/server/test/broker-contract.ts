import { describe, expect, it } from 'vitest'
import type { Append, Broker, BrokerListener, Entry, LogState } from '../src/brokers/broker.ts'

/** A broker to be tested, with a clock and history bounds that the contract can rely on. */
export interface BrokerUnderTest {
  readonly broker: Broker
  /** Lets this much time pass for the broker, ms. */
  readonly advance: (ms: number) => void | Promise<void>
}

/** The bounds that {@link brokerContract} expects of the brokers it is given. */
export const contractHistory = { historyCount: 5, historyBytes: 1_000, historyMs: 60_000 } as const

/** A listener that records what it is told. */
class Ear implements BrokerListener {
  readonly entries: Entry[] = []
  readonly resets: { state: LogState; reason: string }[] = []

  entry(entry: Entry): void {
    this.entries.push(entry)
  }

  reset(state: LogState, reason: string): void {
    this.resets.push({ state, reason })
  }
}

function event(n: number, more: Partial<Append & { kind: 'event' }> = {}): Append {
  return { kind: 'event', event: 'e', data: JSON.stringify(n), at: 1, ...more }
}

function from(position: number): { source: string; position: string } {
  return { source: 'db', position: String(position).padStart(8, '0') }
}

function value(text: string): { data: string; hash: string; at: number } {
  return { data: JSON.stringify(text), hash: text.padEnd(16, '0'), at: 1 }
}

const datas = (entries: readonly Entry[]): number[] => entries.map((entry) => JSON.parse(entry.data) as number)

/** What every broker must do (DESIGN §3.3), whatever keeps its logs. */
export function brokerContract(make: () => Promise<BrokerUnderTest> | BrokerUnderTest): void {
  describe('log topics', () => {
    it('assigns offsets without a gap in the order of appending, and tells every listener the same (R2)', async () => {
      const { broker } = await make()
      const [one, two] = [new Ear(), new Ear()]
      const log = await broker.open('a', 'log', one)
      await broker.open('a', 'log', two)
      const before = log.state().head
      const heads = await Promise.all([1, 2, 3, 4].map((n) => broker.append('a', event(n))))
      const { epoch } = log.state()
      expect(heads).toEqual([1, 2, 3, 4].map((n) => ({ epoch, offset: before + n })))
      await expect.poll(() => two.entries.length).toBe(4)
      expect(datas(one.entries)).toEqual([1, 2, 3, 4])
      expect(two.entries).toEqual(one.entries)
      expect(log.state().head).toBe(before + 4)
    })

    it('appends where nobody listens, and keeps topics apart', async () => {
      const { broker } = await make()
      await broker.append('a', event(1))
      await broker.append('b', event(2))
      const page = await broker.read('a', 0, 1_000)
      expect(datas(page.entries)).toEqual([1])
      expect(page.state.epoch).toMatch(/^[a-z0-9]{12}$/)
    })

    it('drops what is at or below the source position of the topic (C2)', async () => {
      const { broker } = await make()
      await broker.append('a', event(1, { from: from(10) }))
      expect(await broker.append('a', event(1, { from: from(10) }))).toBeNull()
      expect(await broker.append('a', event(0, { from: from(9) }))).toBeNull()
      expect(await broker.append('a', event(7, { from: { source: 'other', position: '1' } }))).not.toBeNull()
      await broker.append('a', event(2, { from: from(11) }))
      await broker.append('b', event(3, { from: from(10) }))
      expect(datas((await broker.read('a', 0, 1_000)).entries)).toEqual([1, 7, 2])
      expect(datas((await broker.read('b', 0, 1_000)).entries)).toEqual([3])
    })

    it('appends once for an idempotency key within two minutes, per topic (D5)', async () => {
      const { broker, advance } = await make()
      const once = event(1, { idempotencyKey: 'k' })
      expect(await broker.append('a', once)).not.toBeNull()
      expect(await broker.append('a', once)).toBeNull()
      expect(await broker.append('b', once)).not.toBeNull()
      await advance(121_000)
      expect(await broker.append('a', once)).not.toBeNull()
    })

    it('reads pages that hold at least one entry and join without a gap (R9)', async () => {
      const { broker } = await make()
      for (const n of [1, 2, 3, 4]) await broker.append('a', event(n, { data: JSON.stringify(n).padEnd(100) }))
      const seen: number[] = []
      let after = 0
      for (let page = 0; page < 4; page++) {
        const { entries, state } = await broker.read('a', after, page === 0 ? 1 : 150)
        expect(entries.length).toBe(page === 0 ? 1 : page === 1 ? 2 : page === 2 ? 1 : 0)
        seen.push(...entries.map((entry) => Number(entry.data)))
        after = entries.at(-1)?.offset ?? after
        expect(state.head).toBe(4)
      }
      expect(seen).toEqual([1, 2, 3, 4])
    })

    it('forgets the oldest by count, bytes and age, and says up to where (R3)', async () => {
      const { broker, advance } = await make()
      for (let n = 1; n <= 7; n++) await broker.append('count', event(n))
      const count = await broker.read('count', 0, 10_000)
      expect(datas(count.entries)).toEqual([3, 4, 5, 6, 7])
      expect(count.state).toMatchObject({ head: 7, trimmedUpTo: 2 })

      for (let n = 1; n <= 3; n++) await broker.append('bytes', event(n, { data: `"${String(n).repeat(450)}"` }))
      expect((await broker.read('bytes', 0, 10_000)).state).toMatchObject({ head: 3, trimmedUpTo: 1 })

      await broker.append('age', event(1))
      await advance(40_000)
      await broker.append('age', event(2))
      await advance(40_000)
      const age = await broker.read('age', 0, 10_000)
      expect(datas(age.entries)).toEqual([2])
      await advance(40_000)
      expect((await broker.read('age', 0, 10_000)).state).toMatchObject({ head: 2, trimmedUpTo: 2 })
    })
  })

  describe('value topics', () => {
    it('keep the newest value, and patches only where there was a value', async () => {
      const { broker } = await make()
      const ear = new Ear()
      const log = await broker.open('v', 'value', ear)
      const { head, birth, snapshot } = log.state()
      expect({ head, snapshot }).toEqual({ head: birth, snapshot: null })
      await broker.append('v', { kind: 'initial', value: value('one') })
      expect(log.state()).toMatchObject({ head, snapshot: value('one') })
      expect(ear.entries).toEqual([])
      expect((await broker.append('v', { kind: 'value', value: value('two'), patch: '[]' }))?.offset).toBe(head + 1)
      expect(ear.entries).toMatchObject([{ offset: head + 1, event: 'patch', data: '[]', hash: value('two').hash }])
      await broker.append('v', { kind: 'value', value: value('three'), patch: null })
      expect(ear.entries.at(-1)).toMatchObject({ event: 'snapshot', hash: value('three').hash })
      const page = await broker.read('v', head - 1, 10_000)
      expect(page.entries.map((entry) => entry.hash)).toEqual(['one', 'two', 'three'].map((text) => value(text).hash))
    })

    it('forget the value on request and advance the offset, so that no earlier cursor seems current (R8)', async () => {
      const { broker } = await make()
      const log = await broker.open('v', 'value', new Ear())
      await broker.append('v', { kind: 'initial', value: value('one') })
      const { head } = log.state()
      expect((await broker.append('v', { kind: 'forget' }))?.offset).toBe(head + 1)
      expect(log.state()).toMatchObject({ head: head + 1, snapshot: null })
      await broker.append('v', { kind: 'initial', value: value('two') })
      await broker.append('v', { kind: 'initial', value: value('late') })
      expect(log.state()).toMatchObject({ head: head + 1, snapshot: value('two') })
    })

    it('drop a value read for an earlier position than the one they have', async () => {
      const { broker } = await make()
      const log = await broker.open('v', 'value', new Ear())
      await broker.append('v', { kind: 'initial', value: value('one') })
      await broker.append('v', { kind: 'value', value: value('three'), patch: null, from: from(3) })
      expect(await broker.append('v', { kind: 'value', value: value('two'), patch: null, from: from(2) })).toBeNull()
      expect(
        await broker.append('v', { kind: 'value', value: value('three again'), patch: null, from: from(3) }),
      ).not.toBeNull()
      expect(log.state().snapshot).toEqual(value('three again'))
    })

    it('start above every offset they had when they were dropped cold, with nothing of the old value (R8)', async () => {
      const { broker } = await make()
      const first = await broker.open('v', 'value', new Ear())
      await broker.append('v', { kind: 'initial', value: value('one') })
      for (const text of ['two', 'three']) {
        await broker.append('v', { kind: 'value', value: value(text), patch: null })
      }
      const { head, epoch } = first.state()
      first.close()
      const again = (await broker.open('v', 'value', new Ear())).state()
      expect(again.epoch).toBe(epoch)
      expect(again.birth).toBeGreaterThan(head)
      expect(again).toMatchObject({ head: again.birth, snapshot: null })
    })
  })

  it('tells nothing to a listener that closed', async () => {
    const { broker } = await make()
    const [gone, here] = [new Ear(), new Ear()]
    const log = await broker.open('a', 'log', gone)
    await broker.open('a', 'log', here)
    log.close()
    await broker.append('a', event(1))
    await expect.poll(() => here.entries.length).toBe(1)
    expect(gone.entries).toEqual([])
  })

  it('begins one new epoch for all topics at a reset, tells each listener once, and repeats no source position (R4, C4)', async () => {
    const { broker } = await make()
    if (broker.reset === undefined) return
    const ears = { a: new Ear(), v: new Ear() }
    const log = await broker.open('a', 'log', ears.a)
    const values = await broker.open('v', 'value', ears.v)
    await broker.append('a', event(1, { from: from(1) }))
    await broker.append('quiet', event(1, { from: from(2) }))
    await broker.append('v', { kind: 'initial', value: value('one') })
    const before = log.state().epoch
    await broker.reset('the slot was lost')
    const { epoch } = log.state()
    expect(epoch).not.toBe(before)
    expect(values.state()).toMatchObject({ epoch, snapshot: null })
    for (const ear of [ears.a, ears.v]) {
      expect(ear.resets).toMatchObject([{ state: { epoch }, reason: 'the slot was lost' }])
    }
    expect((await broker.read('a', 0, 1_000)).entries).toEqual([])
    expect((await broker.read('quiet', 0, 1_000)).state.epoch).toBe(epoch)
    expect(await broker.append('a', event(1, { from: from(1) }))).toBeNull()
    expect(await broker.append('quiet', event(1, { from: from(2) }))).toBeNull()
    expect(await broker.append('a', event(2, { from: from(3) }))).not.toBeNull()
  })

  it('ends the history of the logs that lost something, within the epoch, and touches no other topic (R4)', async () => {
    const { broker } = await make()
    if (broker.reset === undefined) return
    const ears = { a: new Ear(), b: new Ear(), v: new Ear() }
    const log = await broker.open('a', 'log', ears.a)
    await broker.open('b', 'log', ears.b)
    await broker.open('v', 'value', ears.v)
    for (const key of ['a', 'b', 'quiet']) await broker.append(key, event(1, { from: from(1) }))
    const unused = (await broker.read('unused', 0, 1_000)).state
    const { epoch, head } = log.state()
    await broker.reset('an event could not be made', (key) => key !== 'b')
    expect(log.state()).toMatchObject({ epoch, head: head + 1, trimmedUpTo: head + 1 })
    expect(ears.a.resets).toMatchObject([{ state: { epoch, head: head + 1 }, reason: 'an event could not be made' }])
    expect([ears.b.resets, ears.v.resets]).toEqual([[], []])
    expect(datas((await broker.read('b', 0, 1_000)).entries)).toEqual([1])
    expect(await broker.read('quiet', 0, 1_000)).toMatchObject({ state: { trimmedUpTo: 2 }, entries: [] })
    // Nobody wrote to it, and yet a client may have its cursor.
    expect((await broker.read('unused', 0, 1_000)).state.trimmedUpTo).toBeGreaterThan(unused.head)
    expect(await broker.append('a', event(1, { from: from(1) }))).toBeNull()
    expect((await broker.append('a', event(2, { from: from(2) })))?.offset).toBe(head + 2)
  })

  it('gives a log that it had forgotten no offset from before a loss (R4)', async () => {
    const { broker } = await make()
    if (broker.reset === undefined) return
    const { head, epoch } = await forgotten(broker)
    await broker.reset('an event could not be made', () => true)
    const again = (await broker.open('a', 'log', new Ear())).state()
    expect(again.epoch).toBe(epoch)
    expect(again.trimmedUpTo).toBeGreaterThan(head)
  })
}

/** The state of a log that was open, had no event, and was closed. */
async function forgotten(broker: Broker): Promise<LogState> {
  const log = await broker.open('a', 'log', new Ear())
  const state = log.state()
  log.close()
  return state
}
