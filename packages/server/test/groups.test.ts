import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import crossfade, { type Group, type Principal } from '../src/index.ts'
import { recordLog, type RecordedLog } from './log.ts'
import { ofType } from './shop.ts'
import { Socket } from './socket.ts'

let app: FastifyInstance
let log: RecordedLog
let socket: Socket | null
/** How often the value was loaded for a group. */
let loads: number

beforeEach(() => {
  loads = 0
  log = recordLog()
  socket = null
})
afterEach(async () => {
  socket?.close()
  await app.close()
})

/** The principal is the request's header, as JSON; the answer is all of it but the id. */
async function open(group: Group): Promise<void> {
  app = Fastify({ logger: log.logger, forceCloseConnections: true })
  await app.register(crossfade, {
    authenticate: ({ headers }) =>
      headers.authorization === undefined ? null : (JSON.parse(String(headers.authorization)) as Principal),
  })
  app.get('/board', { config: { crossfade: { topic: 'board', audience: { group } } } }, (request) => {
    if (request.crossfade === 'load') loads += 1
    return Promise.resolve({ of: shared(JSON.parse(String(request.headers.authorization)) as object) })
  })
}

/** What a principal has in common with others. */
const shared = (claims: object): object => Object.fromEntries(Object.entries(claims).filter(([name]) => name !== 'id'))

const as = (claims: object): { authorization: string } => ({ authorization: JSON.stringify(claims) })

async function get(claims: object): Promise<{ body: unknown; header: unknown; skipped: unknown }> {
  const { headers, payload } = await app.inject({ url: '/board', headers: as(claims) })
  return { body: JSON.parse(payload), header: headers['crossfade'], skipped: headers['crossfade-skipped'] }
}

/** What a subscription begins with: the value, or the code of a refusal. */
async function subscribed(claims: object): Promise<unknown> {
  const { payload } = await app.inject({
    method: 'POST',
    url: '/crossfade/poll',
    headers: as(claims),
    payload: { topics: { board: {} } },
  })
  const { messages } = JSON.parse(payload) as { messages: { type: string; code?: string; data?: { of: unknown } }[] }
  const first = messages.find(({ type }) => type === 'error' || type === 'event')
  return first?.type === 'error' ? first.code : first?.data?.of
}

const unusable: [string, unknown][] = [
  ['undefined', undefined],
  ['null', null],
  ['an empty text', ''],
  ['spaces', '  '],
  ['NaN', Number.NaN],
  ['infinity', Infinity],
  ['an object', { id: 'a' }],
  ['an array', ['a']],
  ['a promise', Promise.resolve('a')],
  ['a boolean', true],
  ['a symbol', Symbol('a')],
  ['"undefined"', 'undefined'],
  ['"null"', 'null'],
  ['"NaN"', 'NaN'],
  ['"[object Object]"', '[object Object]'],
  ['a part that is undefined', 'undefined:admin'],
  ['a part that is undefined, without a word between', 'orgundefined'],
  ['a part that is NaN, without a separator', 'orgNaN'],
  ['a part that is null', 'acme/null'],
  ['a part that is an object', 'acme-[object Object]'],
]

describe('a group whose name is built from a missing value shares nothing (D16)', () => {
  it.each(unusable)('%s', async (_what, name) => {
    await open(() => name as string)
    const ann = { id: 'ann', orgId: 'a' }
    const answer = await get(ann)
    expect(answer).toEqual({
      body: { of: { orgId: 'a' } },
      header: undefined,
      skipped: 'the group of this principal is unusable',
    })
    expect(await subscribed(ann)).toBe('forbidden')
    expect(await subscribed({ id: 'bob', orgId: 'b' })).toBe('forbidden')
    const errors = log.of('error').filter((line) => line.includes('audience.group'))
    expect(errors[0]).toMatch(/\/board.*audience.group gave .*non-empty string.*This principal has id, orgId/)
  })

  it('nor one that throws', async () => {
    await open((principal) => (principal as unknown as { org: { id: string } }).org.id)
    expect((await get({ id: 'ann' })).header).toBeUndefined()
    expect(await subscribed({ id: 'ann' })).toBe('forbidden')
    expect(log.of('error')[0]).toMatch(/audience.group threw: .*'id'/)
  })

  it('does not share the answer of one tenant with another by a claim that is misspelt', async () => {
    await open((principal) => String(principal['orgdI']))
    for (const orgId of ['a', 'b', 'a']) {
      expect(await subscribed({ id: `of ${orgId}`, orgId })).toBe('forbidden')
      expect((await get({ id: `of ${orgId}`, orgId })).header).toBeUndefined()
    }
    expect(log.of('error').filter((line) => line.includes('gave "undefined"'))).not.toHaveLength(0)
  })

  it('is told once per route, however many ask', async () => {
    await open(() => '')
    for (let n = 0; n < 5; n++) {
      await get({ id: `${n}` })
      await subscribed({ id: `${n}` })
    }
    expect(log.of('error')).toHaveLength(1)
  })

  it('ends with the claim: a renewed token without it keeps no subscription', async () => {
    const tokens: Record<string, object> = { good: { id: 'ann', orgId: 'a' }, bad: { id: 'ann' } }
    app = Fastify({ logger: log.logger, forceCloseConnections: true })
    await app.register(crossfade, {
      authenticate: ({ headers }) => tokens[String(headers.authorization).replace('Bearer ', '')] as Principal,
    })
    app.get('/board', { config: { crossfade: { topic: 'board', audience: { group: ['orgId'] } } } }, () =>
      Promise.resolve({}),
    )
    socket = await Socket.greet(await app.listen({ host: '127.0.0.1', port: 0 }), 'good')
    socket.send({ type: 'subscribe', id: 'b', topic: 'board' })
    await socket.next('subscribed')
    socket.send({ type: 'token', token: 'bad' })
    expect(await socket.next('unsubscribed')).toMatchObject({ id: 'b', code: 'forbidden' })
    expect(ofType(socket.messages, 'error')).toEqual([])
    expect(log.of('error')).toEqual([expect.stringMatching(/the claim "orgId" of audience.group is missing/)])
  })
})

describe('a group of claims', () => {
  it('shares among principals with equal claims, and with nobody else', async () => {
    await open(['orgId', 'role'])
    const admins = { orgId: 'a', role: 'admin' }
    for (const id of ['ann', 'abe']) expect(await subscribed({ id, ...admins })).toEqual(admins)
    expect(loads).toBe(1)
    const others = [
      { orgId: 'b', role: 'admin' },
      { orgId: 'a', role: 'clerk' },
      { orgId: 'a,admin', role: 'x' },
    ]
    for (const other of others) expect(await subscribed({ id: 'bob', ...other })).toEqual(other)
    expect(loads).toBe(4)
  })

  it.each<[string, object, object]>([
    ['a comma', { orgId: 'a', role: 'b,c' }, { orgId: 'a,b', role: 'c' }],
    ['a quote', { orgId: 'a","b', role: 'c' }, { orgId: 'a', role: 'b","c' }],
    ['a line end', { orgId: 'a\nb', role: 'c' }, { orgId: 'a', role: 'b\nc' }],
    ['a type', { orgId: 1, role: 'c' }, { orgId: '1', role: 'c' }],
    ['a flag', { orgId: true, role: 'c' }, { orgId: false, role: 'c' }],
  ])('are told apart by %s', async (_what, one, other) => {
    await open(['orgId', 'role'])
    expect(await subscribed({ id: 'one', ...one })).toEqual(one)
    expect(await subscribed({ id: 'other', ...other })).toEqual(other)
    expect(loads).toBe(2)
  })

  it.each<[string, object, RegExp]>([
    ['is missing', { orgId: 'a' }, /the claim "role" of audience.group is missing/],
    ['is misspelt', { orgId: 'a', rola: 'x' }, /"role" of audience.group is missing. Did you mean "rola"\?/],
    ['is null', { orgId: 'a', role: null }, /"role" of audience.group is null, which cannot name a group/],
    ['is empty', { orgId: 'a', role: '' }, /"role" of audience.group is "", which cannot name a group/],
    ['is a list', { orgId: 'a', role: ['admin'] }, /"role" of audience.group is an array of 1/],
    ['is an object', { orgId: { id: 'a' }, role: 'x' }, /"orgId" of audience.group is an object with id/],
    ['is "undefined"', { orgId: 'undefined', role: 'x' }, /"orgId" of audience.group is "undefined"/],
  ])('of which one %s shares nothing (D16)', async (_what, claims, message) => {
    await open(['orgId', 'role'])
    expect((await get({ id: 'ann', ...claims })).header).toBeUndefined()
    expect(await subscribed({ id: 'ann', ...claims })).toBe('forbidden')
    expect(log.of('error')[0]).toMatch(message)
  })

  it('ignores an inherited member, such as constructor', async () => {
    await open(['constructor'])
    expect(await subscribed({ id: 'ann' })).toBe('forbidden')
  })
})

describe('a group that is a number', () => {
  it.each<[string, number | bigint]>([
    ['whole', 7],
    ['zero', 0],
    ['beyond 2^53', 9_007_199_254_740_993n],
  ])('%s is the group of that number as text', async (_what, number) => {
    await open((principal) => (principal.id === 'ann' ? (number as number) : String(number)))
    for (const id of ['ann', 'bob']) expect(await subscribed({ id })).toEqual({})
    expect(loads).toBe(1)
  })
})
