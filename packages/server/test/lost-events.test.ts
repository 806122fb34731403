import { MemoryFeed, unsent, type ChangeRule, type Operation, type Row, type RowChange } from '@crossfade/changefeed'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import crossfade from '../src/index.ts'
import { rule } from './rule.ts'
import { ofType } from './shop.ts'
import { spreadOf } from '../src/rollout/spread.ts'
import { Socket } from './socket.ts'

let app: FastifyInstance
let feed: MemoryFeed
let socket: Socket
/** What the server logged as an error. */
let logged: { msg: string; err: { code: string; message: string } }[]

beforeEach(async () => {
  logged = []
  const stream = { write: (line: string) => void logged.push(JSON.parse(line) as (typeof logged)[0]) }
  app = Fastify({ forceCloseConnections: true, logger: { level: 'error', stream } })
  feed = new MemoryFeed()
  await app.register(crossfade, { feed })
})
afterEach(async () => {
  socket.close()
  await app.close()
})

function messages(more: Partial<ChangeRule> = {}): ChangeRule {
  return rule('messages', { params: (row) => ({ room: String(row['room']) }), ...more })
}

function change(op: Operation, row: Row | null, table = 'messages'): RowChange {
  return { table: `public.${table}`, op, before: op === 'delete' ? row : null, after: op === 'delete' ? null : row }
}

const said = (room: string, text: unknown): RowChange => change('insert', { room, text })

/** Two rooms with a log each, and one log beside them. */
async function openRooms(more: Partial<ChangeRule>): Promise<void> {
  app.crossfade.log('rooms/:room', { public: true, event: 'said', on: [messages(more)] })
  app.crossfade.log('orders', { public: true, event: 'ordered', on: [rule('orders', { data: (row) => row })] })
  await listen('rooms/a', 'rooms/b', 'orders')
}

async function listen(...topics: string[]): Promise<void> {
  socket = await Socket.greet(await app.listen({ host: '127.0.0.1', port: 0 }))
  for (const topic of topics) {
    socket.send({ type: 'subscribe', id: topic, topic })
    await socket.next('subscribed')
  }
}

/** What was heard until an order comes, by topic. */
async function heard(): Promise<Record<string, unknown[]>> {
  await feed.emit([change('insert', { end: true }, 'orders')])
  while ((await socket.next('event')).topic !== 'orders');
  const all: Record<string, unknown[]> = {}
  for (const message of socket.messages) {
    if (message.type === 'event') (all[message.topic] ??= []).push(message.data)
    if (message.type === 'reset') (all[message.topic] ??= []).push('reset')
  }
  return all
}

const end = { end: true }

describe('a row from which a rule cannot make an event', () => {
  it.each<[string, (row: Row) => unknown, unknown]>([
    ['data throws', (row) => `> ${row['text'] as string}`, unsent],
    ['data is a bigint', (row) => ({ id: row['text'] }), 1n],
    ['data is too large (§8)', (row) => row['text'], 'x'.repeat(1_048_577)],
    ['data is a value that was not sent', (row) => row['text'], unsent],
  ])('is a loss of its topic, and everything else goes on (R4): %s', async (_name, data, text) => {
    await openRooms({ data })
    await feed.emit([said('a', text), said('b', 'hi'), change('insert', { id: 1 }, 'orders')])
    await feed.emit([said('a', 'ho')])
    expect(await heard()).toEqual({
      'rooms/a': ['reset', data({ text: 'ho' })],
      'rooms/b': [data({ text: 'hi' })],
      orders: [{ id: 1 }, end],
    })
  })

  it('is reported to the operator, once for the rule and transaction', async () => {
    await openRooms({ data: (row) => ({ id: row['text'] }) })
    await feed.emit([said('a', 1n), said('a', 2n), said('b', 3n)])
    await heard()
    expect(logged.map(({ err }) => err.code)).toEqual(['invalid_options'])
    expect(logged[0]?.err.message).toMatch(/"rooms\/:room".* public\.messages .*BigInt.*read .* again.*data/)
  })

  it('makes earlier cursors unrecoverable, and later ones are recoverable (R3, R4)', async () => {
    await openRooms({ data: (row) => ({ id: row['text'] }) })
    await feed.emit([said('a', 'one')])
    const { cursor } = await socket.next('event')
    await feed.emit([said('a', 1n)])
    const reset = await socket.next('reset')
    // All read their lists again, each at its own time (F19).
    expect(reset.wait).toBe(spreadOf(1))
    await feed.emit([said('a', 'two')])
    const late = await Socket.greet(socket.raw.url.replace('/crossfade/ws', ''))
    late.send({ type: 'subscribe', id: '1', topic: 'rooms/a', cursor })
    expect(await late.next('subscribed')).toMatchObject({ recovered: false, wait: spreadOf(2) })
    late.send({ type: 'subscribe', id: '2', topic: 'rooms/a', cursor: reset.cursor })
    expect((await late.next('subscribed')).recovered).toBe(true)
    expect((await late.next('event')).data).toEqual({ id: 'two' })
    late.close()
  })

  it('is a loss of all topics of the log when nothing says which it is (R4)', async () => {
    const params = (row: Row): { room: string } => ({ room: (row['room'] as string).toUpperCase().toLowerCase() })
    await openRooms({ params, data: (row) => row['text'] })
    await feed.emit([said('a', 'hi'), change('insert', { room: null, text: 'where' })])
    const all = await heard()
    expect(all).toEqual({ 'rooms/a': ['reset'], 'rooms/b': ['reset'], orders: [end] })
    expect(logged.map(({ err }) => err.message)).toEqual([expect.stringContaining('null')])
  })

  it('is such a loss, too, when its columns were not sent, which is reported with the remedy (R4)', async () => {
    await openRooms({ params: () => 'all', data: (row) => row['text'] })
    await feed.emit([change('delete', {})])
    expect(await heard()).toEqual({ 'rooms/a': ['reset'], 'rooms/b': ['reset'], orders: [end] })
    expect(logged.map(({ err }) => err.message)).toEqual([expect.stringContaining('REPLICA IDENTITY FULL')])
  })
})

it('a table that is emptied is a loss of the logs of its rows, as no event tells it (R4)', async () => {
  await openRooms({ data: (row) => row['text'] })
  await feed.emit([said('a', 'hi')])
  await socket.next('event')
  await feed.emit([change('truncate', null)])
  await feed.emit([said('a', 'ho')])
  expect(await heard()).toEqual({ 'rooms/a': ['hi', 'reset', 'ho'], 'rooms/b': ['reset'], orders: [end] })
  expect(logged).toEqual([])
})

it('a row whose topic a rule cannot determine loads all values of the route again', async () => {
  let version = 1
  const params = (row: Row): { room: string } => ({ room: (row['room'] as string).toUpperCase().toLowerCase() })
  app.get(
    '/rooms/:room',
    { config: { crossfade: { topic: 'rooms/:room', audience: 'public', on: [messages({ params })] } } },
    () => Promise.resolve({ version }),
  )
  await listen('rooms/a', 'rooms/b')
  await expect.poll(() => ofType(socket.messages, 'event').length).toBe(2)
  version = 2
  await feed.emit([change('insert', { room: null })])
  await expect
    .poll(() => ofType(socket.messages, 'event').map(({ data }) => data))
    .toEqual([{ version: 1 }, { version: 1 }, { version: 2 }, { version: 2 }])
  expect(logged.map(({ err }) => err.message)).toEqual([expect.stringMatching(/"rooms\/:room".*null.*loaded again/)])
})

describe('a list that is rewritten', () => {
  const rewrite: Partial<ChangeRule> = { ops: ['update', 'delete', 'truncate'] }

  beforeEach(async () => {
    const events = messages({ ops: ['insert'], data: (row) => row['text'] })
    app.crossfade.log('rooms/:room', { public: true, event: 'said', on: [events, messages(rewrite)] })
    app.crossfade.log('orders', { public: true, event: 'ordered', on: [rule('orders', { data: (row) => row })] })
    await listen('rooms/a', 'rooms/b', 'rooms/c', 'orders')
  })

  it('is read again by its subscribers, once for a transaction, and by clients that had it before (R4)', async () => {
    await feed.emit([
      said('a', 'one'),
      change('delete', { room: 'a' }),
      { table: 'public.messages', op: 'update', before: { room: 'a' }, after: { room: 'b', text: 'moved' } },
    ])
    expect(await heard()).toEqual({ 'rooms/a': ['reset'], 'rooms/b': ['reset'], orders: [end] })
    const resets = socket.messages.flatMap((message) => (message.type === 'reset' ? [message] : []))
    for (const { topic, cursor } of resets) {
      socket.send({ type: 'subscribe', id: 'after', topic, cursor })
      expect(await socket.next('subscribed')).toMatchObject({ topic, recovered: true })
    }
    const earlier = resets[0]?.cursor.replace(/\d{12}$/, '000000000001')
    socket.send({ type: 'subscribe', id: 'before', topic: 'rooms/a', cursor: earlier })
    expect(await socket.next('subscribed')).toMatchObject({ topic: 'rooms/a', recovered: false })
  })

  it('is every list of the route when the table is emptied, or the rows do not say which', async () => {
    await feed.emit([change('truncate', null)])
    const all = { 'rooms/a': ['reset'], 'rooms/b': ['reset'], 'rooms/c': ['reset'], orders: [end] }
    expect(await heard()).toEqual(all)
  })
})
