import type { Row } from '@crossfade/changefeed'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, expect, it } from 'vitest'
import crossfade from '../src/index.ts'
import { recordLog, type RecordedLog } from './log.ts'
import { rule } from './rule.ts'
import { HandFeed, ofType } from './shop.ts'
import { Socket } from './socket.ts'

let app: FastifyInstance
let feed: HandFeed
let log: RecordedLog
let socket: Socket

beforeEach(async () => {
  log = recordLog('error')
  feed = new HandFeed()
  app = Fastify({ forceCloseConnections: true, logger: log.logger })
  await app.register(crossfade, { feed })
})
afterEach(async () => {
  socket.close()
  await app.close()
})

async function subscribe(topic: string): Promise<void> {
  socket = await Socket.greet(await app.listen({ host: '127.0.0.1', port: 0 }))
  socket.send({ type: 'subscribe', id: '1', topic })
  await socket.next('subscribed')
}

/** Names that only a real row shows. */
const namedBy = (give: (id: string) => object) => (row: Row) =>
  give((row['id'] as number).toFixed()) as Record<string, string>

it.each<[string, (id: string) => object]>([
  ['of another name', (id) => ({ Id: id })],
  ['more than it has', (id) => ({ id, shop: '1' })],
])(
  'a rule that turns out to give parameters %s loads the values of its route, and is reported once',
  async (_what, give) => {
    let version = 1
    const on = [rule('orders', { params: namedBy(give) })]
    app.get('/orders/:id', { config: { crossfade: { topic: 'orders/:id', audience: 'public', on } } }, () =>
      Promise.resolve({ version }),
    )
    await subscribe('orders/7')
    await socket.next('event')
    for (version = 2; version <= 3; version++) {
      await feed.emit('orders', { after: { id: 7 } })
      expect((await socket.next('event')).data).toEqual({ version })
    }
    expect(log.of('error')).toHaveLength(1)
    expect(log.errors[0]).toMatch(
      /rule of "orders\/:id".*gives the parameter "(Id|shop)", which the topic "orders\/:id" does not have/,
    )
  },
)

it.each<[string, (id: string) => object, boolean]>([
  ['none of its parameters', () => ({}), true],
  ['a parameter of another name', (id) => ({ Room: id }), true],
  ['none, of a list that is rewritten', () => ({}), false],
])(
  'a rule of a log that turns out to give %s is a loss of the log, and is reported once (R4)',
  async (_what, give, hasData) => {
    const data = hasData ? { data: (row: Row) => row } : {}
    app.crossfade.log('rooms/:room', { public: true, on: [rule('messages', { params: namedBy(give), ...data })] })
    await subscribe('rooms/7')
    for (let n = 0; n < 2; n++) {
      await feed.emit('messages', { after: { id: 7 } })
      await socket.next('reset')
    }
    expect(ofType(socket.messages, 'event')).toEqual([])
    expect(log.errors).toEqual([
      expect.stringMatching(/rule of "rooms\/:room".*gives (?:no "room"|the parameter "Room")/),
    ])
  },
)

it('a rule that gives fewer parameters than its value has loads every topic that has these', async () => {
  let version = 1
  const on = [rule('shops', { params: (row) => ({ shop: String(row['shop']) }) })]
  app.get(
    '/shops/:shop/orders/:id',
    { config: { crossfade: { topic: 'shops/:shop/orders/:id', audience: 'public', on } } },
    () => Promise.resolve({ version }),
  )
  await subscribe('shops/1/orders/7')
  await socket.next('event')
  version = 2
  await feed.emit('shops', { after: { shop: 2 } })
  version = 3
  await feed.emit('shops', { after: { shop: 1 } })
  expect((await socket.next('event')).data).toEqual({ version: 3 })
  expect(log.errors).toEqual([])
})
