import { Agent, get } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { SseParser, type ServerMessage, type SseEvent } from '@crossfade/protocol'
import { EventSource } from 'eventsource'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ann, ofType, openShop, type Shop } from './shop.ts'

let shop: Shop
let origin: string
beforeEach(async () => {
  shop = await openShop({ limits: { heartbeatMs: 100 } })
  origin = await shop.listen()
})
afterEach(() => shop.app.close())

/** Reads a stream until told to stop. */
class Stream {
  readonly events: SseEvent[] = []
  readonly response: Response
  readonly #abort: AbortController
  readonly done: Promise<void>

  constructor(response: Response, abort: AbortController) {
    this.response = response
    this.#abort = abort
    this.done = this.#read()
  }

  static async open(path: string, init: RequestInit = {}): Promise<Stream> {
    const abort = new AbortController()
    return new Stream(await fetch(`${origin}${path}`, { ...init, signal: abort.signal }), abort)
  }

  static post(topics: object, headers: Record<string, string> = {}, query = ''): Promise<Stream> {
    return Stream.open(`/crossfade/sse${query}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ topics }),
    })
  }

  get messages(): ServerMessage[] {
    return this.events.map((event) => JSON.parse(event.data) as ServerMessage)
  }

  close(): void {
    this.#abort.abort()
  }

  async #read(): Promise<void> {
    const parser = new SseParser((event) => this.events.push(event))
    try {
      for await (const chunk of this.response.body?.pipeThrough(new TextDecoderStream()) ?? []) parser.push(chunk)
    } catch {
      // Closed by the test.
    }
  }
}

/** The messages of a stream's text. */
function typesIn(body: string): string[] {
  const types: string[] = []
  new SseParser(({ data }) => types.push((JSON.parse(data) as ServerMessage).type)).push(body)
  return types
}

describe('Server-Sent Events', () => {
  it('streams many topics after hello, with the headers that proxies need (R24, R25)', async () => {
    const stream = await Stream.post({ 'orders/1': {}, 'rooms/a/messages': {} }, ann)
    expect(stream.response.headers.get('content-type')).toBe('text/event-stream')
    expect(stream.response.headers.get('cache-control')).toBe('no-store, no-transform')
    expect(stream.response.headers.get('x-accel-buffering')).toBe('no')
    await expect.poll(() => ofType(stream.messages, 'event').length).toBe(1)
    await expect.poll(() => ofType(stream.messages, 'subscribed').length).toBe(2)
    expect(stream.messages[0]).toMatchObject({ type: 'hello', protocol: 1 })
    await shop.say('a', 'line\nbreak\r\nand more')
    await shop.putOrder(1, 2)
    await expect.poll(() => ofType(stream.messages, 'event').length).toBe(3)
    expect(ofType(stream.messages, 'event')[1]?.data).toEqual({ id: 1, text: 'line\nbreak\r\nand more' })
    expect(stream.events.every((event) => event.id === undefined)).toBe(true)
    stream.close()
  })

  it('proves that the path streams by two timed heartbeats, then beats when idle (R25)', async () => {
    const stream = await Stream.post({}, {}, '?proof=1')
    await expect.poll(() => ofType(stream.messages, 'heartbeat').length).toBeGreaterThan(3)
    expect(stream.messages[0]?.type).toBe('hello')
    stream.close()
  })

  it('streams one topic of a wrapped endpoint, and resumes by Last-Event-ID (R13)', async () => {
    const source = new EventSource(`${origin}/api/rooms/a/messages`, {
      fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...ann } }),
    })
    const seen: ServerMessage[] = []
    source.addEventListener('message', (event) => seen.push(JSON.parse(String(event.data)) as ServerMessage))
    await expect.poll(() => ofType(seen, 'subscribed').length).toBe(1)
    await shop.say('a', 'one')
    await expect.poll(() => ofType(seen, 'event').length).toBe(1)
    source.close()
    const cursor = ofType(seen, 'event')[0]?.cursor
    await shop.say('a', 'two')
    const again = await Stream.open('/api/rooms/a/messages', {
      headers: { ...ann, accept: 'text/event-stream', 'last-event-id': String(cursor) },
    })
    await expect.poll(() => ofType(again.messages, 'event').map((event) => event.key)).toEqual(['2'])
    expect(again.events.at(-1)?.id).toBe(ofType(again.messages, 'event')[0]?.cursor)
    expect(again.events[0]?.id).toBeUndefined()
    again.close()
  })

  it('takes nonsense in Last-Event-ID as absent (R4)', async () => {
    const stream = await Stream.open('/crossfade/sse?topic=orders/1', { headers: { 'last-event-id': 'nonsense' } })
    await expect.poll(() => ofType(stream.messages, 'event').map((event) => event.event)).toEqual(['snapshot'])
    stream.close()
  })

  it('lets the endpoint itself refuse, and refuses foreign origins and bad tokens before any stream (R14, R51)', async () => {
    const anonymous = await fetch(`${origin}/api/rooms/a/messages`, { headers: { accept: 'text/event-stream' } })
    expect(anonymous.status).toBe(401)
    const foreign = await fetch(`${origin}/api/orders/1`, {
      headers: { accept: 'text/event-stream', origin: 'https://evil.example' },
    })
    expect(foreign.status).toBe(403)
    expect((await Stream.post({}, { authorization: 'Bearer wrong' })).response.status).toBe(401)
  })

  it('refuses a bad token for a stream or a held answer, and leaves a plain request to the endpoint (§6)', async () => {
    const wrong = { authorization: 'Bearer wrong' }
    for (const wish of [{ accept: 'text/event-stream' }, { prefer: 'wait=20', 'if-none-match': '"x"' }]) {
      const answer = await fetch(`${origin}/api/orders/1`, { headers: { ...wrong, ...wish } as Record<string, string> })
      expect([answer.status, await answer.json()]).toMatchObject([401, { code: 'unauthenticated' }])
    }
    expect((await fetch(`${origin}/api/orders/1`, { headers: wrong })).status).toBe(200)
  })

  it.each([
    ['text/event-stream', true],
    ['application/json;q=0.5, Text/Event-Stream', true],
    ['*/*', false],
    ['application/json, text/event-stream;q=0', false],
    ['application/json, text/event-stream; q=0.1', false],
  ])('streams to a client that accepts "%s": %s (RFC 9110 §12.5.1)', async (accept, streams) => {
    const stream = await Stream.open('/api/orders/1', { headers: { accept } })
    expect(stream.response.headers.get('content-type')?.startsWith('text/event-stream')).toBe(streams)
    stream.close()
  })

  it('announces the drain and ends (R26)', async () => {
    const stream = await Stream.post({ 'orders/1': {} })
    await expect.poll(() => stream.messages.length).toBeGreaterThan(0)
    const closing = shop.app.close()
    await stream.done
    expect(stream.messages.at(-1)).toMatchObject({ type: 'bye', code: 1001 })
    await closing
  })

  it('rotates streams by an announced end (R26)', async () => {
    const rotating = await openShop({ rotateMs: 50 })
    const address = await rotating.listen()
    const response = await fetch(`${address}/crossfade/sse?topic=orders/1`)
    expect(await response.text()).toContain('"type":"bye","code":1001')
    await rotating.app.close()
  })

  it('is sent as it is to HTTP/1.0, which has no chunks', async () => {
    const socket = connect(Number(new URL(origin).port), '127.0.0.1')
    let received = ''
    socket.on('data', (bytes: Buffer) => (received += bytes.toString()))
    socket.write('GET /crossfade/sse?topic=orders/1 HTTP/1.0\r\n\r\n')
    await expect.poll(() => received).toContain('"event":"snapshot"')
    await shop.putOrder(1, 2)
    await expect.poll(() => received).toContain('"version":2')
    const body = received.slice(received.indexOf('\r\n\r\n') + 4)
    expect(body.split('\n\n').every((event) => event === '' || /^(id|retry|data): /.test(event))).toBe(true)
    socket.destroy()
  })

  it('goes through whatever the application has wrapped around the answer', async () => {
    const wrapping = await openShop()
    const written: string[] = []
    wrapping.app.addHook('onRequest', async (request, { raw }) => {
      if (!request.url.startsWith('/crossfade')) return
      const write = raw.write.bind(raw) as (chunk: Buffer) => boolean
      raw.write = (chunk: Buffer) => {
        written.push(chunk.toString())
        return write(chunk)
      }
    })
    const address = await wrapping.listen()
    const abort = new AbortController()
    await fetch(`${address}/crossfade/sse?topic=orders/1`, { signal: abort.signal })
    await expect.poll(() => written.join('')).toContain('"event":"snapshot"')
    expect(typesIn(written.join(''))).toEqual(['hello', 'subscribed', 'event'])
    abort.abort()
    await wrapping.app.close()
  })

  it('leaves a kept connection as it found it, for the next stream (R26)', async () => {
    const rotating = await openShop({ rotateMs: 20 })
    const listeners: number[] = []
    rotating.app.server.on('request', ({ socket }) => listeners.push(socket.listenerCount('drain')))
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const address = await rotating.listen()
    for (let n = 0; n < 3; n++) {
      const body = await new Promise<string>((resolve, reject) => {
        get(`${address}/crossfade/sse?topic=orders/1`, { agent }, (response) => {
          text(response).then(resolve, reject)
        })
      })
      expect(typesIn(body)).toEqual(['hello', 'subscribed', 'event', 'bye'])
    }
    agent.destroy()
    expect(listeners).toEqual(listeners.map(() => listeners[0]))
    await rotating.app.close()
  })
})
