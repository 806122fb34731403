import { once } from 'node:events'
import { connect } from 'node:net'
import Fastify from 'fastify'
import { expect, it } from 'vitest'
import crossfade from '@crossfade/server'

it('closes although a hook refused an upgrade and the client kept its socket (D7)', async () => {
  const app = Fastify()
  app.addHook('onRequest', async (_request, reply) => reply.code(502).send('blocked'))
  await app.register(crossfade)
  const origin = new URL(await app.listen({ host: '127.0.0.1', port: 0 }))
  const socket = connect({ port: Number(origin.port), host: origin.hostname, allowHalfOpen: true })
  socket.write(
    'GET /crossfade/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  const [answer] = (await once(socket, 'data')) as [Buffer]
  expect(answer.toString()).toContain('502')
  await app.close()
  socket.destroy()
})

it('answers held requests immediately, so that nobody is cut off and nothing waits (R26)', async () => {
  const app = Fastify()
  await app.register(crossfade)
  app.get('/value', { config: { crossfade: { topic: 'value', audience: 'public' } } }, () => ({ v: 1 }))
  app.get('/list', { config: { crossfade: { log: 'list', key: 'id' } } }, () => [])
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const held = await Promise.all(
    ['/value', '/list'].map(async (path) => {
      const etag = (await fetch(origin + path)).headers.get('etag') ?? ''
      return { answer: fetch(origin + path, { headers: { prefer: 'wait=20', 'if-none-match': etag } }) }
    }),
  )
  await expect.poll(async () => (await fetch(`${origin}/crossfade/health`)).json()).toMatchObject({ connections: 2 })
  const closed = app.close()
  for (const { answer } of held) expect((await answer).status).toBe(304)
  await closed
})

it('lets a running call give its answer, and does not wait without end for a request that never ends (D7, D8, R34)', async () => {
  const app = Fastify()
  await app.register(crossfade)
  let answer: (value: string) => void = () => {}
  const running = new Promise<string>((resolve) => (answer = resolve))
  const began = new Promise<void>((resolve) => {
    app.crossfade.rpc('slow', {}, () => {
      resolve()
      return running
    })
  })
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const { hostname, port } = new URL(origin)
  const endless = connect(Number(port), hostname)
  endless.on('error', () => {})
  endless.write(
    'POST /crossfade/poll HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{',
  )
  const call = fetch(`${origin}/crossfade/rpc/slow`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': 'k'.repeat(24) },
    body: '{}',
  })
  await began
  const closed = app.close()
  const gone = once(endless, 'close')
  // The server no longer listens for others by then.
  await expect.poll(() => fetch(`${origin}/crossfade/probe`).then(({ status }) => status)).toBe(503)
  answer('done')
  expect(await (await call).json()).toEqual({ result: 'done' })
  await gone
  await closed
}, 15_000)
