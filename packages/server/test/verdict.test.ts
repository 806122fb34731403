import { afterEach, describe, expect, it } from 'vitest'
import { retryAfterMs } from '../src/endpoints/verdict.ts'
import { as, Endpoints, until, versionsOf, type Handler } from './endpoints.ts'
import { ofType } from './shop.ts'

let endpoints: Endpoints
/** Ends what hangs. */
let release: () => void
afterEach(async () => {
  release()
  await endpoints.close()
})

async function open(reauthorizeMs?: number): Promise<void> {
  hanging = new Promise((resolve) => (release = () => resolve()))
  const opened = await Endpoints.open(reauthorizeMs === undefined ? {} : { reauthorizeMs, grantMs: 50 })
  endpoints = await opened.listen()
}

let hanging: Promise<void>

const status =
  (code: number, headers: Record<string, string> = {}): Handler =>
  (_, reply) =>
    reply
      .code(code)
      .headers(headers)
      .send(code === 204 || code === 304 ? undefined : { error: 'no' })

const html: Handler = (_, reply) => reply.type('text/html').send('<form>Log in</form>')
const redirect: Handler = (_, reply) => reply.redirect('/login')
const hangs: Handler = async () => {
  await hanging
  return { late: true }
}
const aborts: Handler = (request, reply) => {
  reply.hijack()
  request.raw.destroy()
  reply.raw.destroy()
}
const inAnHour = (): string => new Date(Date.now() + 3_600_000).toUTCString()

/** What the endpoint answers these credentials, and what they get on the wire when they subscribe. */
const refusals: [string, Handler, string][] = [
  ['302 to a login', redirect, 'forbidden'],
  ['304 although nobody asked for it', status(304), 'forbidden'],
  ['200 with a login page', html, 'forbidden'],
  ['200 text', (_, reply) => reply.type('text/plain').send('{"version":9}'), 'forbidden'],
  ['400', status(400), 'forbidden'],
  ['401', status(401), 'unauthenticated'],
  ['403', status(403), 'forbidden'],
  ['404', status(404), 'forbidden'],
  ['405', status(405), 'forbidden'],
  ['406', status(406), 'forbidden'],
  ['410', status(410), 'forbidden'],
  ['451', status(451), 'forbidden'],
]
const unknowns: [string, Handler, string, string][] = [
  ['408', status(408), 'server_error', 'endpoint_failed'],
  ['425', status(425), 'server_error', 'endpoint_failed'],
  ['429', status(429), 'overloaded', 'rate_limited'],
  ['429 with a time in seconds', status(429, { 'retry-after': '1' }), 'overloaded', 'rate_limited'],
  ['429 with a date', status(429, { 'retry-after': inAnHour() }), 'overloaded', 'rate_limited'],
  ['500', status(500), 'server_error', 'endpoint_failed'],
  ['503', status(503), 'server_error', 'endpoint_failed'],
  ['503 with a time', status(503, { 'retry-after': '1' }), 'overloaded', 'endpoint_failed'],
  ['an exception', () => Promise.reject(new Error('gone')), 'server_error', 'endpoint_failed'],
  ['invalid JSON', (_, reply) => reply.type('application/json').send('{"v":'), 'server_error', 'endpoint_failed'],
  ['nothing in time', hangs, 'server_error', 'endpoint_timeout'],
  ['an aborted socket', aborts, 'server_error', 'endpoint_failed'],
]

describe('a run whose answer refuses these credentials (D13)', () => {
  it.each(refusals)('%s: is not a permission to subscribe', async (_, trouble, code) => {
    await open()
    endpoints.trouble = trouble
    const socket = await endpoints.socket('ann')
    for (const topic of ['talk', 'mine']) {
      socket.send({ type: 'subscribe', id: topic, topic })
      expect(await socket.next('error')).toMatchObject({ topic, code })
    }
  })

  it.each(refusals)(
    '%s: ends the subscription by a load, a revocation and a check at intervals',
    async (_, trouble) => {
      await open()
      const byLoad = await endpoints.socket('ann', 'mine')
      const byRevocation = await endpoints.socket('bob', 'talk')
      endpoints.trouble = trouble
      endpoints.app.crossfade.invalidate('mine')
      expect(await byLoad.next('unsubscribed')).toMatchObject({ topic: 'mine', code: 'forbidden' })
      await endpoints.app.crossfade.revoke('bob')
      expect(await byRevocation.next('unsubscribed')).toMatchObject({ topic: 'talk', code: 'forbidden' })
      await endpoints.close()
      await open(50)
      const byInterval = await endpoints.socket('ann', 'talk')
      endpoints.trouble = trouble
      expect(await byInterval.next('unsubscribed')).toMatchObject({ topic: 'talk', code: 'forbidden' })
    },
  )

  it('says the same about gone and refused topics (R52)', async () => {
    await open()
    const said: object[] = []
    for (const code of [403, 404, 410]) {
      endpoints.trouble = null
      const living = await endpoints.socket('ann', 'talk')
      endpoints.trouble = status(code)
      await endpoints.app.crossfade.revoke('ann')
      const { message } = await living.next('unsubscribed')
      living.send({ type: 'subscribe', id: 'x', topic: 'talk' }, { type: 'subscribe', id: 'y', topic: 'mine' })
      const errors = [await living.next('error'), await living.next('error')]
      said.push({ message, errors: errors.map((error) => [error.code, error.message]) })
    }
    expect(said[1]).toEqual(said[0])
    expect(said[2]).toEqual(said[0])
    expect(JSON.stringify(said)).not.toMatch(/40[34]|410/)
  })

  it('is told immediately by the endpoint itself to a client that asks for a held answer (R12)', async () => {
    await open()
    for (const url of ['/mine', '/talk', '/news']) {
      endpoints.trouble = null
      const { etag } = (await endpoints.app.inject({ url, headers: as('ann') })).headers
      for (const [name, trouble] of [...refusals, ...unknowns]) {
        if (trouble === hangs || trouble === aborts) continue
        endpoints.trouble = trouble
        const headers = { ...as('ann'), 'if-none-match': String(etag), prefer: 'wait=1' }
        const plain = await endpoints.app.inject({ url, headers: as('ann') })
        await endpoints.app.crossfade.revoke('ann')
        // A public value that its topic has is not secret, and its endpoint is not asked.
        if (url === '/news') endpoints.app.crossfade.invalidate('news')
        const held = await endpoints.app.inject({ url, headers })
        expect([url, name, held.statusCode]).toEqual([url, name, plain.statusCode])
      }
    }
  })
})

describe('a run that says nothing about these credentials (D13)', () => {
  it.each(unknowns)('%s: is neither a permission to subscribe nor a refusal', async (_, trouble, code) => {
    await open()
    endpoints.trouble = trouble
    const socket = await endpoints.socket('ann')
    for (const topic of ['talk', 'mine']) {
      socket.send({ type: 'subscribe', id: topic, topic })
      expect(await socket.next('error')).toMatchObject({ topic, code })
    }
  })

  it.each(unknowns)(
    '%s: makes a value stale that cannot be loaded, and ends nothing',
    async (_, trouble, _code, reason) => {
      await open()
      const socket = await endpoints.socket('ann', 'mine', 'markers')
      endpoints.trouble = trouble
      await endpoints.change()
      expect(await socket.next('stale')).toMatchObject({ topic: 'mine', reason })
      await endpoints.settle(socket)
      expect(ofType(socket.messages, 'unsubscribed')).toEqual([])
      expect(versionsOf(socket.messages, 'mine')).toEqual([1])
    },
  )

  it.each(unknowns)('%s: ends nothing at a periodic check, and events continue', async (_, trouble) => {
    await open(50)
    const socket = await endpoints.socket('ann', 'talk', 'markers')
    endpoints.trouble = trouble
    const before = endpoints.count('check /talk')
    await until(() => endpoints.count('check /talk') > before)
    await endpoints.change()
    await endpoints.settle(socket)
    expect(versionsOf(socket.messages, 'talk')).toEqual([2])
    expect([...ofType(socket.messages, 'unsubscribed'), ...ofType(socket.messages, 'stale')]).toEqual([])
  })
})

describe('a run that is answered (D13)', () => {
  it.each([204, 205])('%i is the value null', async (code) => {
    await open()
    const socket = await endpoints.socket('ann', 'mine')
    await socket.next('event')
    endpoints.trouble = (_, reply) => reply.code(code).send()
    await endpoints.change()
    await socket.next('event')
    const answer = await endpoints.poll('ann', { mine: {} })
    expect(ofType(answer.messages, 'event')).toMatchObject([{ event: 'snapshot', data: null }])
    // It is a permission like any other 2xx.
    await endpoints.app.crossfade.revoke('ann')
    await endpoints.change()
    endpoints.trouble = null
    await endpoints.change()
    await until(() => versionsOf(socket.messages, 'mine').length === 3)
    expect(ofType(socket.messages, 'unsubscribed')).toEqual([])
  })

  it('by 304, when it is asked with the tag of the client, holds the answer of a list (R12)', async () => {
    await open()
    endpoints.trouble = (request, reply) => {
      void reply.header('etag', '"page-1"')
      return request.headers['if-none-match'] === '"page-1"' ? reply.code(304).send() : reply.send({ page: 1 })
    }
    const headers = { ...as('ann'), 'if-none-match': '"page-1"', prefer: 'wait=20' }
    const held = endpoints.app.inject({ url: '/talk', headers })
    await until(() => endpoints.count('check /talk') === 1)
    const isHeld = await Promise.race([held.then(() => false), endpoints.poll('ann', { markers: {} }).then(() => true)])
    expect(isHeld).toBe(true)
    endpoints.trouble = null
    await endpoints.change()
    expect((await held).json()).toEqual({ version: 2 })
  })
})

describe('Retry-After', () => {
  it('is read as seconds and as a date (RFC 9110 §10.2.3), and is absent where it is neither', () => {
    expect(retryAfterMs('120')).toBe(120_000)
    expect(retryAfterMs(7)).toBe(7_000)
    const ms = retryAfterMs(inAnHour()) ?? 0
    expect(ms).toBeGreaterThan(3_590_000)
    expect(ms).toBeLessThanOrEqual(3_600_000)
    expect(retryAfterMs('Wed, 21 Oct 2015 07:28:00 GMT')).toBe(0)
    for (const nothing of [undefined, 'soon', '', ['3'], '-5x']) expect(retryAfterMs(nothing)).toBeNull()
  })
})
