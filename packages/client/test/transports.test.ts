import { beforeEach, describe, expect, it } from 'vitest'
import { listen, liveOn, open, patiently, server, until } from './scripted-client.ts'

/** What has to be blocked for each transport to be the best that works. */
const ladders = {
  websocket: {},
  sse: { upgrade: 'refuse' },
  longpoll: { upgrade: 'refuse', sse: 'refuse' },
  shortpoll: { upgrade: 'refuse', sse: 'refuse', poll: 'break' },
} as const

describe.each(Object.entries(ladders))('on %s', (transport, script) => {
  it('values and events arrive, each once and in order (R2)', async () => {
    server.block(script)
    server.set('v', 1)
    server.say('l', 'before')
    const client = open()
    const [events, values] = [listen(client, 'l'), listen(client, 'v')]
    await until(client, liveOn(transport))
    await expect.poll(() => values, patiently).toEqual([1])
    for (let n = 2; n <= 4; n++) {
      server.set('v', n)
      server.say('l', n)
      await expect.poll(() => values.at(-1), patiently).toBe(n)
      await expect.poll(() => events.at(-1), patiently).toBe(n)
    }
    expect(events).toEqual([2, 3, 4])
    expect(values).toEqual([1, 2, 3, 4])
  })

  it('goes on from its cursors when its connections are cut, without a repeat (F16)', async () => {
    server.block(script)
    server.set('v', 0)
    server.say('l', 0)
    const client = open()
    const [events, values] = [listen(client, 'l'), listen(client, 'v')]
    await until(client, liveOn(transport))
    await expect.poll(() => values, patiently).toEqual([0])
    server.say('l', 1)
    await expect.poll(() => events, patiently).toEqual([1])
    server.killAll()
    server.say('l', 2)
    server.say('l', 3)
    await expect.poll(() => events, patiently).toEqual([1, 2, 3])
  })

  it('follows topics that come later, and drops those that are left', async () => {
    server.block(script)
    server.set('a', 1)
    server.set('b', 1)
    const client = open()
    const left = client.subscribe('a', {})
    await until(client, liveOn(transport))
    const values = listen(client, 'b')
    await expect.poll(() => values, patiently).toEqual([1])
    left.unsubscribe()
    server.set('b', 2)
    await expect.poll(() => values, patiently).toEqual([1, 2])
  })

  it('a refused topic does not end the others (R54)', async () => {
    server.block(script)
    server.forbidden.add('no')
    server.set('v', 1)
    const client = open()
    const [refused, values] = [listen(client, 'no'), listen(client, 'v')]
    await expect.poll(() => [refused, values], patiently).toEqual([['forbidden'], [1]])
    server.set('v', 2)
    await expect.poll(() => values, patiently).toEqual([1, 2])
    expect(refused).toEqual(['forbidden'])
  })
})

describe.each(Object.entries(ladders))('a topic whose endpoint fails for a moment, on %s', (transport, script) => {
  beforeEach(() => {
    server.block(script)
    server.set('v', 1)
    server.set('other', 1)
  })

  it('is asked for again until it begins, and nobody hears of an error (R40)', async () => {
    server.failing.set('v', 'server_error')
    const client = open()
    const [values, others] = [listen(client, 'v'), listen(client, 'other')]
    await until(client, liveOn(transport))
    await expect.poll(() => [others, server.refusals > 1], patiently).toEqual([[1], true])
    server.failing.clear()
    await expect.poll(() => values, patiently).toEqual([1])
    server.set('v', 2)
    await expect.poll(() => values, patiently).toEqual([1, 2])
  })

  it('goes on from its cursor where it lived before (R3, R40)', async () => {
    server.say('l', 0)
    const client = open()
    const [events, others] = [listen(client, 'l'), listen(client, 'other')]
    await until(client, liveOn(transport))
    await expect.poll(() => others, patiently).toEqual([1])
    server.say('l', 1)
    await expect.poll(() => events, patiently).toEqual([1])
    server.failing.set('l', 'overloaded')
    server.killAll()
    await expect.poll(() => server.refusals, patiently).toBeGreaterThan(0)
    server.say('l', 2)
    server.failing.clear()
    await expect.poll(() => events, patiently).toEqual([1, 2])
  })
})
