import { Writable } from 'node:stream'
import { beforeEach, describe, expect, it } from 'vitest'
import { StreamOutlet } from '../src/connections/stream-outlet.ts'
import { FlushCycle } from '../src/delivery/flush-cycle.ts'

const maxBytes = 1_000

let overflows: number
/** What the client has not taken yet, oldest first. */
let untaken: (() => void)[]
let stream: Writable
let outlet: StreamOutlet

beforeEach(() => {
  overflows = 0
  untaken = []
  stream = new Writable({ highWaterMark: 1, write: (_bytes, _encoding, taken) => untaken.push(taken) })
  outlet = new StreamOutlet(
    {
      stream,
      encode: () => Buffer.alloc(100),
      bytesOf: () => Buffer.alloc(100),
      overflow: () => (overflows += 1),
      drained: () => {},
    },
    new FlushCycle((error) => {
      throw error
    }),
    maxBytes,
  )
})

function send(count: number): void {
  for (let n = 0; n < count; n++) outlet.send({})
  outlet.flush()
}

describe("a connection's own messages", () => {
  it('never overflow the outbox of a client that takes them, although something always waits (F17)', () => {
    send(2)
    for (let round = 0; round < 100; round++) {
      send(1)
      untaken.shift()?.()
    }
    expect(outlet.waitingBytes).toBeGreaterThan(0)
    expect(outlet.waitingBytes).toBeLessThanOrEqual(300)
    expect(overflows).toBe(0)
  })

  it('overflow the outbox of a client that sends requests and does not read (F17)', () => {
    send(10)
    expect(overflows).toBe(0)
    send(1)
    expect(overflows).toBe(1)
  })
})
