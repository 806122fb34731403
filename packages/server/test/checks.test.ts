import { afterEach, describe, expect, it } from 'vitest'
import { as, Endpoints, never, until, versionsOf } from './endpoints.ts'
import { ofType } from './shop.ts'
import { Socket } from './socket.ts'

let endpoints: Endpoints
const sockets: Socket[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.close()
  await endpoints.close()
})

async function open(options: Parameters<typeof Endpoints.open>[0] = {}): Promise<void> {
  endpoints = await (await Endpoints.open(options)).listen()
}

/** Subscribes with a cookie, as an unknown client. */
async function visitor(cookie: string, topic: string): Promise<Socket> {
  const socket = await Socket.greet(endpoints.origin, undefined, { headers: { cookie } })
  sockets.push(socket)
  socket.send({ type: 'subscribe', id: topic, topic })
  return socket
}

describe('a public topic', () => {
  it('that does not change costs no run, however many cookies subscribe and however often they are due to be checked', async () => {
    await open({ reauthorizeMs: 50, grantMs: 30_000 })
    await (await visitor('sid=first', 'news')).next('subscribed')
    const readers = await Promise.all(Array.from({ length: 299 }, (_, n) => visitor(`sid=${n}`, 'news')))
    await Promise.all(readers.map((reader) => reader.next('subscribed')))
    const witness = await endpoints.socket('ann', 'talk')
    // Ann's own check runs a few times meanwhile.
    await until(() => endpoints.count('check /talk') > 6)
    expect(endpoints.runs.filter((run) => run.endsWith('/news'))).toEqual(['load /news'])
    await endpoints.change()
    await until(() => readers.every(({ messages }) => versionsOf(messages, 'news').at(-1) === 2))
    expect(endpoints.runs.filter((run) => run.endsWith('/news'))).toEqual(['load /news', 'load /news'])
    expect(ofType(witness.messages, 'unsubscribed')).toEqual([])
  }, 30_000)

  it('that is polled by many costs one run without credentials now and then, not one for each of them', async () => {
    await open({ grantMs: 20, loadTimeoutMs: 10_000, limits: { messagesPerSecond: 100_000, messageBurst: 100_000 } })
    const poll = (cookie: string) =>
      endpoints.app.inject({
        method: 'POST',
        url: '/crossfade/poll',
        headers: { cookie },
        payload: { topics: { news: {} } },
      })
    await poll('sid=first')
    const before = endpoints.runs.length
    for (let round = 0; round < 3; round++) {
      // The grant for everybody has ended.
      await new Promise((resolve) => setTimeout(resolve, 50))
      const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => poll(`sid=${n}`)))
      expect(answers.every((answer) => answer.payload.includes('"version":1'))).toBe(true)
    }
    // A slow machine needs some, since the grant ends meanwhile; never one for each.
    expect(endpoints.runs.length - before).toBeLessThan(75)
  })

  it('is granted to nobody because the service may read it: clients without a login are refused', async () => {
    await open({ service: { headers: { authorization: 'Bearer service' } } })
    endpoints.trouble = (request, reply) =>
      request.headers.authorization === undefined ? reply.code(401).send({ error: 'login' }) : { version: 1 }
    const known = await endpoints.socket('ann', 'news')
    expect(await known.next('event')).toMatchObject({ data: { version: 1 } })
    const nobody = await visitor('sid=1', 'news')
    expect(await nobody.next('error')).toMatchObject({ topic: 'news', code: 'unauthenticated' })
    expect(ofType((await endpoints.poll(undefined, { news: {} })).messages, 'error')).toHaveLength(1)
    expect(JSON.stringify(nobody.messages)).not.toContain('version":1')
    expect(endpoints.count('check /news')).toBeGreaterThanOrEqual(2)
  })

  it('checks the own credentials of a principal that was revoked', async () => {
    await open()
    const [ann, bob] = [await endpoints.socket('ann', 'news'), await endpoints.socket('bob', 'news')]
    endpoints.trouble = (request, reply) =>
      request.headers.authorization === as('ann').authorization
        ? reply.code(403).send({})
        : { version: endpoints.version }
    await endpoints.app.crossfade.revoke('ann')
    expect(await ann.next('unsubscribed')).toMatchObject({ topic: 'news', code: 'forbidden' })
    ann.send({ type: 'subscribe', id: 'again', topic: 'news' })
    expect(await ann.next('error')).toMatchObject({ code: 'forbidden' })
    await endpoints.change()
    await until(() => versionsOf(bob.messages, 'news').at(-1) === 2)
    expect(versionsOf(ann.messages, 'news')).toEqual([1])
  })

  it('that requires a login from now on tells nothing more to clients without one, and is stale for the others', async () => {
    await open()
    const nobody = await visitor('sid=1', 'news')
    await nobody.next('event')
    const ann = await endpoints.socket('ann', 'news', 'markers')
    endpoints.trouble = (request, reply) =>
      request.headers.authorization === undefined ? reply.code(401).send({ error: 'login' }) : { version: 99 }
    await endpoints.change()
    expect(await nobody.next('unsubscribed')).toMatchObject({ topic: 'news', code: 'forbidden' })
    expect(await ann.next('stale')).toMatchObject({ topic: 'news', reason: 'refused' })
    await until(() => endpoints.count('check /news') >= 2)
    const late = await visitor('sid=2', 'news')
    expect(await late.next('error')).toMatchObject({ topic: 'news' })
    await endpoints.settle(ann)
    expect(ofType(ann.messages, 'unsubscribed')).toEqual([])
    for (const { messages } of [nobody, late, ann]) expect(versionsOf(messages, 'news')).not.toContain(99)
    endpoints.trouble = null
    await until(() => ofType(ann.messages, 'fresh').length === 1)
    expect(versionsOf(ann.messages, 'news').at(-1)).toBe(endpoints.version)
  })
})

describe('checks of living subscriptions (R14)', () => {
  it('are spread over the interval, and never more run in parallel than is allowed', async () => {
    const count = 400
    await open({
      reauthorizeMs: 1_000,
      maxReauthorizations: 5,
      loadTimeoutMs: 10_000,
      limits: { messagesPerSecond: 100_000, messageBurst: 100_000 },
    })
    let running = 0
    let most = 0
    const readers = await Promise.all(Array.from({ length: count }, (_, n) => endpoints.socket(`user${n}`, 'talk')))
    endpoints.trouble = async () => {
      running += 1
      most = Math.max(most, running)
      await new Promise((resolve) => setTimeout(resolve, 2))
      running -= 1
      return { version: 1 }
    }
    const before = endpoints.count('check /talk')
    await until(() => endpoints.count('check /talk') >= before + count, 20_000)
    expect(most).toBeLessThanOrEqual(5)
    for (const { messages } of readers) expect(ofType(messages, 'unsubscribed')).toEqual([])
  }, 40_000)

  it('of clients that came together are not made together, in the order in which they came', async () => {
    await open({ reauthorizeMs: 2_500, maxReauthorizations: 1_000, loadTimeoutMs: 10_000 })
    const order: string[] = []
    endpoints.trouble = ({ headers }) => {
      order.push(String(headers.authorization))
      return { version: 1 }
    }
    const count = 60
    for (let n = 0; n < count; n++) await endpoints.socket(`user${n}`, 'talk')
    // The second time that each is checked.
    const again = (): string[] => [...new Set(order.filter((token, index) => order.indexOf(token) !== index))]
    await until(() => again().length === count, 20_000)
    const numbers = again().map((token) => Number(/\d+/.exec(token)?.[0]))
    const overtaken = numbers.filter((number, index) => number > (numbers[index + 1] ?? Infinity)).length
    expect(overtaken).toBeGreaterThan(2)
  }, 30_000)

  it('are not made while loads by the same credentials succeed', async () => {
    await open({ reauthorizeMs: 1_000 })
    const ann = await endpoints.socket('ann', 'mine')
    const bob = await endpoints.socket('bob', 'talk')
    while (endpoints.count('check /talk') < 3) {
      await endpoints.change()
      const { version } = endpoints
      await until(() => versionsOf(ann.messages, 'mine').at(-1) === version)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(ofType(bob.messages, 'unsubscribed')).toEqual([])
    expect(endpoints.count('check /mine')).toBe(0)
  }, 20_000)

  it('of an endpoint that hangs take one turn, and leave the others to endpoints that answer (R54, D14)', async () => {
    await open({ reauthorizeMs: 50, grantMs: 0, maxReauthorizations: 2 })
    for (let n = 0; n < 20; n++) await endpoints.socket(`user${n}`, 'mine')
    const ann = await endpoints.socket('ann', 'talk')
    endpoints.trouble = (request) =>
      request.url === '/mine' ? new Promise(() => {}) : Promise.resolve({ version: endpoints.version })
    const hung = endpoints.count('check /mine')
    await until(() => endpoints.count('check /mine') > hung + 2)
    const [mine, talk] = [endpoints.count('check /mine'), endpoints.count('check /talk')]
    await until(() => endpoints.count('check /talk') > talk + 4)
    // In their order it would be all twenty for each of the other.
    expect(endpoints.count('check /mine') - mine).toBeLessThan(40)
    expect(ofType(ann.messages, 'unsubscribed')).toEqual([])
  }, 60_000)

  it('of those who listen to a public topic are made once when its load is refused, and not at each try (D8)', async () => {
    await open({ service: { headers: { authorization: 'Bearer service' } }, grantMs: 0 })
    const ann = await endpoints.socket('ann', 'news')
    let loads = 0
    endpoints.trouble = (request, reply) => {
      if (request.crossfade !== 'load') return { version: 1 }
      loads += 1
      return reply.code(403).send({})
    }
    endpoints.app.crossfade.invalidate('news')
    await until(() => loads > 3)
    await until(() => endpoints.count('check /news') > 0)
    const checks = endpoints.count('check /news')
    await until(() => loads > 5)
    expect(endpoints.count('check /news')).toBe(checks)
    expect(ofType(ann.messages, 'unsubscribed')).toEqual([])
  }, 60_000)

  it('that were refused leave no grant behind: a returning client is checked', async () => {
    await open({ reauthorizeMs: 50, grantMs: never })
    const ann = await endpoints.socket('ann', 'talk')
    endpoints.trouble = (_, reply) => reply.code(403).send({})
    await ann.next('unsubscribed')
    ann.send({ type: 'subscribe', id: 'again', topic: 'talk' })
    expect(await ann.next('error')).toMatchObject({ id: 'again', code: 'forbidden' })
  })
})
