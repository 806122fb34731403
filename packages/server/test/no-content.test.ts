import { hashValue, headerName, parseHeader } from '@crossfade/protocol'
import Fastify from 'fastify'
import { expect, it } from 'vitest'
import crossfade from '../src/index.ts'
import { ofType } from './shop.ts'
import { Socket } from './socket.ts'

it.each([204, 205])('an endpoint that answers %i has the value null, by poll and by push (R16)', async (status) => {
  let job: object | null = { id: 7 }
  const app = Fastify({ forceCloseConnections: true })
  await app.register(crossfade)
  app.get('/job', { config: { crossfade: { topic: 'job', audience: 'public' } } }, async (_request, reply) =>
    job === null ? reply.code(status).send() : job,
  )
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const socket = await Socket.greet(origin)
  socket.send({ type: 'subscribe', id: 'x', topic: 'job' })
  expect(await socket.next('event')).toMatchObject({ data: { id: 7 } })
  job = null
  app.crossfade.invalidate('job')
  await expect.poll(() => ofType(socket.messages, 'event').at(-1)).toMatchObject({ hash: hashValue(null) })
  const plain = await fetch(`${origin}/job`, { headers: { 'if-none-match': `W/"${hashValue(null)}"` } })
  expect([plain.status, await plain.text()]).toEqual([status, ''])
  expect(parseHeader(plain.headers.get(headerName))).toMatchObject({ topic: 'job', hash: hashValue(null) })
  await app.close()
})
