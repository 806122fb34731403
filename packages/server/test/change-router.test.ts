import type { Row } from '@crossfade/changefeed'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import crossfade from '../src/index.ts'
import { rule } from './rule.ts'
import { HandFeed, ofType } from './shop.ts'
import { Socket } from './socket.ts'

let app: FastifyInstance
let feed: HandFeed
let socket: Socket

beforeEach(async () => {
  app = Fastify({ forceCloseConnections: true })
  feed = new HandFeed()
  await app.register(crossfade, { feed })
})
afterEach(async () => {
  socket.close()
  await app.close()
})

const row = (value: Row): Row => value

async function listen(...topics: string[]): Promise<void> {
  app.crossfade.log('markers', { public: true })
  socket = await Socket.greet(await app.listen({ host: '127.0.0.1', port: 0 }))
  for (const topic of [...topics, 'markers']) {
    socket.send({ type: 'subscribe', id: topic, topic })
    await socket.next('subscribed')
  }
}

/** Everything that has come for a topic: a marker shows that nothing more is on its way. */
async function heard(topic: string): Promise<string[]> {
  await app.crossfade.publish('markers', 'marker', null)
  for (;;) {
    const event = await socket.next('event')
    if (event.topic === 'markers') break
  }
  return socket.messages.flatMap((message) => {
    if (message.type === 'event') return message.topic === topic ? [message.event] : []
    return message.type === 'reset' && message.topic === topic ? ['reset'] : []
  })
}

describe('two rules of one log topic', () => {
  beforeEach(async () => {
    app.crossfade.log('audit', {
      public: true,
      on: [
        rule('orders', { event: 'created', ops: ['insert'], data: row }),
        rule('orders', { event: 'changed', ops: ['insert', 'update'], data: row }),
      ],
    })
    await listen('audit')
  })

  it('make two events of one row, in the order of the rules', async () => {
    await feed.emit('orders', { after: { id: 1 } })
    expect(await heard('audit')).toEqual(['created', 'changed'])
  })

  it('make none of them again when the feed repeats the change (C2)', async () => {
    const first = await feed.emit('orders', { after: { id: 1 } })
    const second = await feed.emit('orders', { before: { id: 1 }, after: { id: 1 } })
    await feed.emit('orders', { after: { id: 1 } }, first)
    await feed.emit('orders', { before: { id: 1 }, after: { id: 1 } }, second)
    await feed.emit('orders', { after: { id: 2 } })
    expect(await heard('audit')).toEqual(['created', 'changed', 'changed', 'created', 'changed'])
    expect(ofType(socket.messages, 'event').map(({ data }) => (data as Row | null)?.['id'])).toEqual([
      1,
      1,
      1,
      2,
      2,
      undefined,
    ])
  })
})
