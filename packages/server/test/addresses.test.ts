import { request as httpRequest } from 'node:http'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { addressOf, isPrivate, networkOf } from '../src/connections/client-address.ts'
import { ConnectionCounter } from '../src/connections/connection-counter.ts'
import { RequestRate } from '../src/connections/request-rate.ts'
import crossfade, { type CrossfadeOptions } from '../src/index.ts'
import { principalOf } from './shop.ts'
import { Socket } from './socket.ts'

const limits = { maxConnectionsPerAddress: 3, maxConnectionsPerPrincipal: 2, messagesPerSecond: 1_000, messageBurst: 4 }

let app: FastifyInstance
afterEach(() => app.close())

/** A small product, its log, and a way to poll it from any address. */
async function open(
  options: FastifyServerOptions = {},
  own: CrossfadeOptions = {},
): Promise<{ warnings: () => string[] }> {
  const lines: string[] = []
  app = Fastify({
    forceCloseConnections: true,
    logger: {
      level: 'warn',
      stream: { write: (line: string) => lines.push((JSON.parse(line) as { msg: string }).msg) },
    },
    ...options,
  })
  await app.register(crossfade, { authenticate: ({ headers }) => principalOf(headers.authorization), limits, ...own })
  app.crossfade.log('ticks/:symbol', { public: true })
  return { warnings: () => lines.filter((line) => line.includes('trustProxy')) }
}

/** Polls from an address. With a cursor the answer is held. */
async function poll(remoteAddress: string, headers: Record<string, string> = {}, cursor?: string): Promise<string> {
  const response = await app.inject({
    method: 'POST',
    url: '/crossfade/poll',
    remoteAddress,
    headers,
    payload: { topics: { 'ticks/a': { cursor } }, wait: 20_000 },
  })
  return response.json<{ topics: { 'ticks/a': { cursor: string } } }>().topics['ticks/a'].cursor
}

const connections = async (): Promise<number> =>
  (await app.inject('/crossfade/health')).json<{ connections: number }>().connections

describe('limits by address', () => {
  it('count anonymous connections only: an office behind one address is not shut out (F30)', async () => {
    await open()
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const anonymous = await Promise.all([1, 2, 3].map(() => Socket.greet(origin)))
    const known = await Promise.all(
      ['ann-token', 'ann-token', 'bob-token', 'bob-token'].map((token) => Socket.greet(origin, token)),
    )
    const fourth = await Socket.open(origin)
    fourth.send({ type: 'hello', protocol: 1 })
    expect((await fourth.closed).code).toBe(4429)
    for (const socket of [...anonymous, ...known]) socket.close()
  })

  it('are bounded before hello too, and released when hello says who the client is (D8)', async () => {
    await open()
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const silent = await Promise.all([1, 2, 3].map(() => Socket.open(origin)))
    expect((await (await Socket.open(origin)).closed).code).toBe(4429)
    silent[0]?.send({ type: 'hello', protocol: 1, token: 'ann-token' })
    await silent[0]?.next('hello')
    const next = await Socket.greet(origin, 'ann-token')
    for (const socket of [...silent, next]) socket.close()
  })

  it('are not applied where there is no address: a Unix socket (F30)', async () => {
    await open()
    const folder = await mkdtemp(join(tmpdir(), 'crossfade-'))
    const socketPath = join(folder, 'server')
    await app.listen({ path: socketPath })
    const post = (wait: number): Promise<number> =>
      new Promise((resolve, reject) => {
        const body = JSON.stringify({ topics: { 'ticks/a': {} }, wait })
        const request = httpRequest(
          { socketPath, path: '/crossfade/poll', method: 'POST', headers: { 'content-type': 'application/json' } },
          (response) => {
            response.resume()
            resolve(response.statusCode ?? 0)
          },
        )
        request.on('error', reject)
        request.end(body)
      })
    expect(await Promise.all(Array.from({ length: 30 }, () => post(0)))).toEqual(Array(30).fill(200))
    await app.close()
    await rm(folder, { recursive: true })
  })

  it('count all addresses of one IPv6 network as one client, and no others', () => {
    expect(networkOf('2001:DB8::1')).toBe('2001:db8:0:0::/64')
    expect(networkOf('2001:db8:0:0:ffff:ffff:ffff:ffff')).toBe(networkOf('2001:db8::1'))
    expect(networkOf('fe80::1%eth0')).toBe(networkOf('fe80::2'))
    expect(networkOf('::1')).toBe('0:0:0:0::/64')
    expect(networkOf('2001:db8:0:1::1')).not.toBe(networkOf('2001:db8::1'))
    expect(networkOf('203.0.113.9')).toBe('203.0.113.9')
    const rate = new RequestRate(1, 1)
    rate.acquire({ principal: null, headers: {}, key: '', ip: '2001:db8::1' })
    expect(() => rate.acquire({ principal: null, headers: {}, key: '', ip: '2001:db8::2' })).toThrow('a second')
    const counter = new ConnectionCounter(1, 1)
    counter.acquireUnknown('2001:db8::1')
    expect(() => counter.acquireUnknown('2001:db8::2')).toThrow('address')
    rate.close()
  })

  it('take an address from a proxy only where it is a valid one', () => {
    expect(addressOf({ ip: '::ffff:10.1.2.3' })).toBe('10.1.2.3')
    expect(addressOf({ ip: '203.0.113.7:4711' })).toBe('203.0.113.7')
    for (const ip of ['', 'unknown', '_hidden', undefined as unknown as string]) expect(addressOf({ ip })).toBeNull()
  })
})

describe('a proxy that Fastify does not know about', () => {
  it.each([
    ['10.0.0.7', true],
    ['172.31.0.1', true],
    ['172.32.0.1', false],
    ['192.168.4.4', true],
    ['127.0.0.1', true],
    ['169.254.1.1', true],
    ['203.0.113.7', false],
    ['::1', true],
    ['fd00::1', true],
    ['fe80::1%eth0', true],
    ['2001:db8::1', false],
  ])('%s is private: %s', (address, expected) => expect(isPrivate(address)).toBe(expected))

  it('is reported once, when a second client is forwarded from its address (F30)', async () => {
    const { warnings } = await open()
    await poll('10.0.0.7', { 'x-forwarded-for': '198.51.100.1' })
    await poll('10.0.0.7', { 'x-forwarded-for': '198.51.100.1' })
    expect(warnings()).toEqual([])
    await poll('10.0.0.7', { 'x-forwarded-for': '198.51.100.2' })
    await poll('10.0.0.7', { 'x-forwarded-for': '198.51.100.3' })
    expect(warnings()).toEqual([expect.stringContaining('10.0.0.7')])
  })

  it('is reported when it says nothing about its clients but has very many connections (F30)', async () => {
    const { warnings } = await open({}, { limits: {} })
    const cursor = await poll('192.168.0.1')
    const held = Array.from({ length: 60 }, () => poll('192.168.0.1', {}, cursor))
    await expect.poll(connections).toBe(60)
    expect(warnings().length).toBe(1)
    await app.close()
    await Promise.all(held)
  })

  it('is not assumed where trustProxy is set, where clients have their own addresses, or where there is one client', async () => {
    for (const [options, addresses] of [
      [{ trustProxy: true }, ['10.0.0.7', '10.0.0.7']],
      [{}, ['203.0.113.7', '203.0.113.7']],
      [{}, ['10.0.0.8', '10.0.0.9']],
    ] as const) {
      const { warnings } = await open(options)
      for (const [n, address] of addresses.entries()) await poll(address, { 'x-forwarded-for': `198.51.100.${n}` })
      expect(warnings()).toEqual([])
      await app.close()
    }
  })
})
