import { afterEach, describe, expect, it } from 'vitest'
import type { Broker } from '../src/brokers/broker.ts'
import { memoryBroker, type MemoryBrokerOptions } from '../src/brokers/memory-broker.ts'
import { brokerContract, contractHistory, type BrokerUnderTest } from './broker-contract.ts'

const open: Broker[] = []
afterEach(async () => {
  for (const broker of open.splice(0)) await broker.close?.()
})

function make(options: MemoryBrokerOptions = {}): BrokerUnderTest {
  let nowMs = 1_000
  const broker = memoryBroker({ ...contractHistory, ...options, now: () => nowMs })
  open.push(broker)
  return { broker, advance: (ms) => void (nowMs += ms) }
}

describe('the memory broker', () => {
  brokerContract(make)

  it('keeps the age of an entry by its own clock, whatever the commit time says (D11)', async () => {
    const { broker } = make()
    await broker.append('a', { kind: 'event', event: 'e', data: '1', at: -1_000_000 })
    await broker.append('a', { kind: 'event', event: 'e', data: '2', at: Date.now() + 1_000_000 })
    expect((await broker.read('a', 0, 100)).entries.map((entry) => entry.data)).toEqual(['1', '2'])
  })

  it('begins with another epoch each time', () => {
    const epochs = [make(), make()].map(async ({ broker }) => (await broker.read('a', 0, 1)).state.epoch)
    return expect(Promise.all(epochs).then((list) => new Set(list).size)).resolves.toBe(2)
  })
})
