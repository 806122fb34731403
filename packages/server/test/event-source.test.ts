import { EventSource } from 'eventsource'
import { closeCodes, type ServerMessage } from '@crossfade/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ann, members, ofType, openShop, type Shop } from './shop.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'

const talk = '/crossfade/sse?topic=rooms/a/messages'

let shop: Shop
let origin: string
beforeEach(async () => {
  shop = await openShop()
  origin = await shop.listen()
})
afterEach(async () => {
  members.add('ann')
  await shop.app.close()
})

/** A browser's own `EventSource`, as `ann`, and what it was told. */
function eventSource(path: string): { source: EventSource; seen: ServerMessage[] } {
  const seen: ServerMessage[] = []
  const source = new EventSource(origin + path, {
    fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...ann } }),
  })
  source.addEventListener('message', (event) => seen.push(JSON.parse(String(event.data)) as ServerMessage))
  return { source, seen }
}

/** The `retry:` fields of a stream, and with which message they came. */
function retries({ events, messages }: Stream): [type: string, ms: number][] {
  return events.flatMap(({ retry }, index) => (retry === undefined ? [] : [[messages[index]?.type ?? '', retry]]))
}

describe("a browser's own EventSource", () => {
  it.each([talk, '/api/rooms/a/messages'])(
    'that is cut off while its topic is quiet loses nothing: %s (R13)',
    async (path) => {
      const { source, seen } = eventSource(path)
      await expect.poll(() => ofType(seen, 'subscribed').length).toBe(1)
      shop.app.server.closeAllConnections()
      for (const text of ['one', 'two']) await shop.say('a', text)
      await expect.poll(() => ofType(seen, 'event').map(({ key }) => key), { timeout: 15_000 }).toEqual(['1', '2'])
      expect(ofType(seen, 'subscribed').map(({ recovered }) => recovered)).toEqual([true, true])
      source.close()
    },
  )

  it('is told in advance and before each close when to come back, each at its own time (R13, F19)', async () => {
    const streams = await Promise.all(
      Array.from({ length: 8 }, () => Stream.open(`${origin}/crossfade/sse?topic=orders/1`)),
    )
    for (const stream of streams) await expect.poll(() => ofType(stream.messages, 'event').length).toBe(1)
    const closed = shop.app.close()
    await Promise.all(streams.map((stream) => stream.closed))
    await closed
    for (const stream of streams) expect(retries(stream).map(([type]) => type)).toEqual(['hello', 'bye'])
    for (const index of [0, 1]) {
      const times = streams.map((stream) => retries(stream)[index]?.[1] ?? 0)
      expect(Math.min(...times)).toBeGreaterThanOrEqual(1_000)
      expect(new Set(times).size).toBeGreaterThan(1)
    }
  })

  it.each([
    ['/crossfade/sse?topic=no/such/topic', 404, 'unknown_topic'],
    ['/crossfade/sse?topic=orders/99', 403, 'forbidden'],
    [talk, 401, 'unauthenticated'],
    ['/crossfade/sse', 400, 'invalid_topic'],
  ])('is refused by a status, not by a stream that says nothing: %s (R13)', async (path, status, code) => {
    members.delete('ann')
    const answer = await fetch(origin + path, { headers: ann })
    expect(answer.headers.get('content-type')).toContain('application/problem+json')
    expect([answer.status, await answer.json()]).toMatchObject([status, { code }])
  })

  it('ends with its topic, and learns by the next status that it is refused (R13, R52)', async () => {
    const { source, seen } = eventSource(talk)
    await expect.poll(() => ofType(seen, 'subscribed').length).toBe(1)
    members.delete('ann')
    const refused = new Promise<number | undefined>((resolve) => {
      source.addEventListener('error', ({ code }) => {
        if (code !== undefined) resolve(code)
      })
    })
    await shop.app.crossfade.revoke('ann')
    expect(await refused).toBe(401)
    expect(source.readyState).toBe(source.CLOSED)
    expect(ofType(seen, 'unsubscribed')).toMatchObject([{ code: 'forbidden' }])
    expect(ofType(seen, 'bye')).toMatchObject([{ code: closeCodes.forbidden, retry: null }])
  })
})

it('a stream that cannot be opened gives its connection back to the limits (D8)', async () => {
  const strict = await openShop({ limits: { maxConnectionsPerPrincipal: 1 } })
  strict.app.addHook('onRequest', async (request, { raw }) => {
    if (request.headers['x-break'] === undefined) return
    raw.writeHead = () => {
      throw new Error('no head today')
    }
  })
  const address = await strict.listen()
  const path = `${address}/crossfade/sse?topic=orders/1`
  for (let n = 0; n < 3; n++)
    await expect(fetch(path, { headers: { ...ann, 'x-break': '1' } })).rejects.toThrow('fetch failed')
  const stream = await Stream.open(path, { headers: ann })
  expect(stream.response.statusCode).toBe(200)
  stream.close()
  await strict.app.close()
})

it('a request while the server drains is answered with a code and Retry-After (§6)', async () => {
  // A client that does not answer the close frame keeps the drain waiting.
  const deaf = await Socket.greet(origin)
  deaf.raw.pause()
  const closed = shop.app.close()
  const ask = async (path: string): Promise<Response> =>
    fetch(origin + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"topics":{}}' })
  await expect.poll(async () => (await ask('/crossfade/poll')).status).toBe(503)
  for (const path of ['/crossfade/poll', '/crossfade/sse', '/crossfade/rpc/none']) {
    const answer = await ask(path)
    expect([answer.status, answer.headers.get('content-type')]).toEqual([503, 'application/problem+json'])
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(await answer.json()).toMatchObject({ status: 503, code: 'overloaded' })
  }
  // What is not ours is answered as it was (R10).
  expect(await (await fetch(`${origin}/api/orders/1`)).json()).toMatchObject({ error: 'Service Unavailable' })
  deaf.raw.terminate()
  await closed
})
