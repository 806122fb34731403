import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import crossfade from '../src/index.ts'

let app: FastifyInstance
afterEach(() => app.close())

/** An endpoint whose query part is read as this parser reads it, as `qs` makes objects of `filter[status]=open`. */
async function openWith(querystringParser: (text: string) => Record<string, unknown>): Promise<void> {
  app = Fastify({ routerOptions: { querystringParser } })
  await app.register(crossfade, {})
  app.get('/orders', { config: { crossfade: { topic: 'orders', audience: 'public', query: ['filter'] } } }, (request) =>
    Promise.resolve({ query: request.query }),
  )
}

async function topicOf(url: string): Promise<string | undefined> {
  const { headers } = await app.inject(url)
  return /topic="([^"]*)"/.exec(String(headers['crossfade']))?.[1]
}

describe('a query parameter of the topic', () => {
  it('that is an object keeps the request from being a topic, so that no two of them share an answer (R10)', async () => {
    await openWith((text) => ({ filter: { status: text } }))
    expect([await topicOf('/orders?open'), await topicOf('/orders?closed')]).toEqual([undefined, undefined])
  })

  it('that is null keeps the request from being a topic (R10)', async () => {
    await openWith(() => ({ filter: null }))
    expect(await topicOf('/orders?filter')).toBeUndefined()
  })

  it('that a parser makes a number or a boolean is in the name as it is written (R10)', async () => {
    await openWith((text) => ({ filter: text === 'yes' ? true : Number(text) }))
    expect(await topicOf('/orders?7')).toBe('orders?filter=7')
    expect(await topicOf('/orders?yes')).toBe('orders?filter=true')
  })
})
