import Fastify from 'fastify'
import { expect, it } from 'vitest'
import crossfade, { type RouteOptions } from '../src/index.ts'

const log = { log: 'rooms/:room', key: 'id' }

it.each<[string, string, object, RegExp]>([
  ['a page of a value', '/list', { topic: 'list', paging: ['limit'] }, /"limit", but a page is a value of its own/],
  ['a log of a query', '/rooms/:room', { ...log, query: ['tag'] }, /"tag".*paging/],
  ['a parameter that the topic lacks', '/orders/:id', { topic: 'orders' }, /:id.*Add it to the topic/],
  ['a parameter that the route lacks', '/orders', { topic: 'orders/:id' }, /:id.*params: \(request\)/],
  ['a wildcard', '/files/*', { topic: 'files' }, /wildcard/],
])('a route that declares %s is refused with what to do', async (_what, url, options, message) => {
  const app = Fastify()
  await app.register(crossfade)
  const declare = (): unknown =>
    app.get(url, { config: { crossfade: options as RouteOptions } }, () => Promise.resolve({}))
  expect(declare).toThrow(expect.objectContaining({ code: 'invalid_options', message: expect.stringMatching(message) }))
  await app.close()
})
