import { hashValue, parseHeader } from '@crossfade/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { ann, bob, openShop, type Shop } from './shop.ts'
import { Socket } from './socket.ts'

let shop: Shop
afterEach(() => shop.app.close())

describe('a wrapped endpoint', () => {
  it('answers as before, with the header, a tag and Vary on top (R10)', async () => {
    shop = await openShop({ rollout: { 'order-page': { stage: 'push', percent: 25 } } })
    const response = await shop.app.inject('/api/orders/1')
    expect(response.statusCode).toBe(200)
    expect(response.payload).toBe('{"id":1,"version":1}')
    const hash = hashValue({ id: 1, version: 1 })
    expect(response.headers.etag).toBe(`W/"${hash}"`)
    expect(response.headers.vary).toBe('Accept, Prefer')
    expect(parseHeader(String(response.headers['crossfade']))).toMatchObject({
      topic: 'orders/1',
      hash,
      feature: 'order-page',
      stage: 'push',
      percent: 25,
      rest: 'off',
      base: '/crossfade',
    })
  })

  it('wraps a route that is declared for GET and HEAD together', async () => {
    shop = await openShop()
    const { app } = shop
    app.route({
      method: ['GET', 'HEAD'],
      url: '/both',
      config: { crossfade: { topic: 'both', audience: 'public' } },
      handler: () => Promise.resolve({ v: 1 }),
    })
    for (const method of ['GET', 'HEAD'] as const)
      expect((await app.inject({ method, url: '/both' })).headers['crossfade']).toContain('topic="both"')
  })

  it('answers HEAD with the headers of GET, without holding it (R10)', async () => {
    shop = await openShop()
    const get = await shop.app.inject('/api/orders/1')
    const head = await shop.app.inject({ method: 'HEAD', url: '/api/orders/1', headers: { prefer: 'wait=20' } })
    expect(head.payload).toBe('')
    for (const name of ['crossfade', 'etag', 'vary', 'content-length'])
      expect(head.headers[name]).toBe(get.headers[name])
    const headers = { accept: 'text/event-stream', 'if-none-match': String(get.headers.etag), prefer: 'wait=20' }
    expect((await shop.app.inject({ method: 'HEAD', url: '/api/orders/1', headers })).statusCode).toBe(304)
  })

  it('answers 304 to the current hash by weak comparison (R11)', async () => {
    shop = await openShop()
    const first = await shop.app.inject('/api/orders/1')
    const etag = String(first.headers.etag)
    for (const tag of [etag, etag.replace('W/', ''), `"other", ${etag}`]) {
      const again = await shop.app.inject({ url: '/api/orders/1', headers: { 'if-none-match': tag } })
      expect(again.statusCode).toBe(304)
      expect(again.payload).toBe('')
      expect(again.headers['crossfade']).toBeDefined()
    }
    const other = await shop.app.inject({ url: '/api/orders/1', headers: { 'if-none-match': '"0000000000000000"' } })
    expect(other.statusCode).toBe(200)
  })

  it('is not the topic with an undeclared query parameter or an error (R10)', async () => {
    shop = await openShop()
    const extra = await shop.app.inject('/api/orders/1?debug=1')
    expect(extra.statusCode).toBe(200)
    expect(extra.headers['crossfade']).toBeUndefined()
    expect(extra.headers.etag).toBeUndefined()
    const none = await shop.app.inject('/api/orders/99')
    expect(none.statusCode).toBe(404)
    expect(none.headers['crossfade']).toBeUndefined()
    expect(
      await shop.app.inject({ url: '/api/rooms/a/messages?after=0', headers: ann }).then((r) => r.headers['crossfade']),
    ).toContain('rooms/a/messages')
  })

  it('gives each principal its own topic (R14)', async () => {
    shop = await openShop()
    shop.notes.set('ann', ['for ann'])
    const forAnn = await shop.app.inject({ url: '/api/notes', headers: ann })
    const forBob = await shop.app.inject({ url: '/api/notes', headers: bob })
    expect(parseHeader(String(forAnn.headers['crossfade']))?.topic).toBe('users/ann/notes')
    expect(parseHeader(String(forBob.headers['crossfade']))?.topic).toBe('users/bob/notes')
    expect(forBob.payload).not.toContain('for ann')
    const nobody = await shop.app.inject('/api/notes')
    expect(nobody.statusCode).toBe(401)
    expect(nobody.headers['crossfade']).toBeUndefined()
  })

  it('tags an answer that is not public with its owner, and hello has the same tag (R10)', async () => {
    shop = await openShop()
    const origin = await shop.listen()
    const tagOf = async (url: string, headers: Record<string, string>): Promise<string | undefined> =>
      parseHeader(String((await shop.app.inject({ url, headers })).headers['crossfade']))?.for
    const hello = async (token?: string): Promise<string | undefined> => {
      const socket = await Socket.open(origin)
      socket.send({ type: 'hello', protocol: 1, ...(token === undefined ? {} : { token }) })
      const { for: tag } = await socket.next('hello')
      socket.close()
      return tag
    }
    const [hers, his] = [await tagOf('/api/notes', ann), await tagOf('/api/notes', bob)]
    expect(hers).toMatch(/^[\w-]{16}$/)
    expect(his).not.toBe(hers)
    expect(await tagOf('/api/orders/1', ann)).toBeUndefined()
    expect([await hello('ann-token'), await hello()]).toEqual([hers, undefined])
  })

  it('does not share a public answer that looks private, and names the route once (R15)', async () => {
    shop = await openShop({}, (app) => {
      app.get(
        '/api/cookie',
        { config: { crossfade: { topic: 'cookie', audience: 'public' } } },
        async (_request, reply) => reply.header('set-cookie', 'a=1').send({ a: 1 }),
      )
    })
    const response = await shop.app.inject('/api/cookie')
    expect(response.payload).toBe('{"a":1}')
    expect(response.headers['crossfade']).toBeUndefined()
    const answer = await shop.app.inject({
      method: 'POST',
      url: '/crossfade/poll',
      payload: { topics: { cookie: {} } },
    })
    expect(answer.json().messages[0]).toMatchObject({ type: 'error', code: 'forbidden', topic: 'cookie' })
  })

  it('holds an answer until the value differs (R12)', async () => {
    shop = await openShop()
    const first = await shop.app.inject('/api/orders/1')
    const held = shop.app.inject({
      url: '/api/orders/1',
      headers: { prefer: 'wait=20', 'if-none-match': String(first.headers.etag) },
    })
    // The held request has loaded the topic when its handler ran a second time.
    await expect.poll(() => shop.runs.order).toBe(2)
    await shop.putOrder(1, 2)
    const response = await held
    expect(response.statusCode).toBe(200)
    expect(response.json()).toEqual({ id: 1, version: 2 })
    expect(response.headers['preference-applied']).toBe('wait=20')
    expect(response.headers['cache-control']).toBe('no-store')
  })

  it('answers a held request immediately without a tag or with another, and 304 at the time limit (R12)', async () => {
    shop = await openShop({ limits: { maxHoldMs: 50 } })
    const first = await shop.app.inject({ url: '/api/orders/1', headers: { prefer: 'wait=20' } })
    expect(first.statusCode).toBe(200)
    const other = await shop.app.inject({
      url: '/api/orders/1',
      headers: { prefer: 'wait=20', 'if-none-match': '"x"' },
    })
    expect(other.statusCode).toBe(200)
    const same = await shop.app.inject({
      url: '/api/orders/1',
      headers: { prefer: 'wait=20', 'if-none-match': String(first.headers.etag) },
    })
    expect(same.statusCode).toBe(304)
    expect(same.headers['crossfade']).toContain('orders/1')
  })

  it.each([
    ['', '20'],
    ['?after=1', '20'],
    ['?after=1', '99999999999999999999'],
  ])('holds a log topic until its next event (R12): %s for %s s', async (query, wait) => {
    shop = await openShop()
    const url = `/api/rooms/a/messages${query}`
    await shop.say('a', 'one')
    await shop.say('a', 'two')
    const first = await shop.app.inject({ url, headers: ann })
    const held = shop.app.inject({
      url,
      headers: { ...ann, prefer: `wait=${wait}`, 'if-none-match': String(first.headers.etag) },
    })
    let held2: unknown = null
    void held.then((response) => (held2 = response))
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(held2).toBe(null)
    await shop.say('a', 'hello')
    const response = await held
    expect(held2).toBe(response)
    expect(response.statusCode).toBe(200)
    expect(response.json<{ messages: { text: string }[] }>().messages.map(({ text }) => text)).toEqual(
      query === '' ? ['one', 'two', 'hello'] : ['two', 'hello'],
    )
  })
})
