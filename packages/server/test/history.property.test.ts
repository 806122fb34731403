import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { ServerMessage } from '@crossfade/protocol'
import Fastify, { type FastifyInstance } from 'fastify'
import type { ChangeRule, Row } from '@crossfade/changefeed'
import crossfade from '../src/index.ts'
import { HeldLog, HeldValue } from './reference-client.ts'
import { HandFeed } from './shop.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'

const things = [1, 2]
const logTopic = 'talk/a'
/** `hint`: a WebSocket that only tells that something changed; the client reads the endpoint. */
type Kind = 'poll' | 'websocket' | 'sse' | 'hint'
const kinds: readonly Kind[] = ['poll', 'websocket', 'sse', 'hint', 'poll', 'websocket']

type Step =
  | { readonly do: 'change'; readonly thing: number }
  | { readonly do: 'say' }
  /** The feed delivers the oldest changes that it has not delivered. */
  | { readonly do: 'tell'; readonly count: number }
  /** The feed restarts a little before where it was. */
  | { readonly do: 'repeat'; readonly back: number }
  /** The feed loses what it has not delivered, and says so. */
  | { readonly do: 'gap' }
  /** One of the handlers that are under way answers with what it read when it began. */
  | { readonly do: 'answer'; readonly which: number }
  | { readonly do: 'get' | 'sync' | 'drop'; readonly client: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 20, arbitrary: fc.record({ do: fc.constant('change' as const), thing: fc.constantFrom(...things) }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant('say' as const) }) },
  { weight: 16, arbitrary: fc.record({ do: fc.constant('tell' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('repeat' as const), back: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('gap' as const) }) },
  { weight: 24, arbitrary: fc.record({ do: fc.constant('answer' as const), which: fc.nat(20) }) },
  {
    weight: 32,
    arbitrary: fc.record({
      do: fc.constantFrom('get' as const, 'sync' as const, 'sync' as const, 'drop' as const),
      client: fc.nat(kinds.length - 1),
    }),
  },
)

/** A product over a source whose feed lags, and whose handlers answer in any order. */
class Product {
  readonly app: FastifyInstance = Fastify({ forceCloseConnections: true })
  readonly feed: HandFeed = new HandFeed()
  readonly source: Map<number, object> = new Map(things.map((id) => [id, valueOf(id, 0)]))
  readonly said: string[] = []
  readonly #untold: { table: string; row: Row }[] = []
  readonly #told: { table: string; row: Row; position: number }[] = []
  readonly #underWay: (() => void)[] = []
  #version = 0
  #free = false

  async start(): Promise<string> {
    await this.app.register(crossfade, {
      feed: this.feed,
      warmMs: 20,
      grantMs: 1_000,
      limits: { historyCount: 6, messagesPerSecond: 10_000, messageBurst: 10_000, lingerMs: 1 },
    })
    this.app.get<{ Params: { id: string } }>(
      '/things/:id',
      { config: { crossfade: { topic: 'things/:id', audience: 'public', on: [rule('things', 'id')] } } },
      async (request) => {
        const read = this.source.get(Number(request.params.id))
        if (!this.#free) await new Promise<void>((resolve) => this.#underWay.push(resolve))
        return read
      },
    )
    this.app.get(
      '/talk/:room',
      { config: { crossfade: { log: 'talk/:room', key: 'id', on: [rule('talk', 'room')] } } },
      () => Promise.resolve({ messages: this.said }),
    )
    return this.app.listen({ host: '127.0.0.1', port: 0 })
  }

  change(id: number): void {
    this.source.set(id, valueOf(id, (this.#version += 1)))
    this.#untold.push({ table: 'things', row: { id } })
  }

  say(): void {
    const id = String(this.said.length)
    this.said.push(id)
    this.#untold.push({ table: 'talk', row: { room: 'a', id } })
  }

  async tell(count: number): Promise<void> {
    for (const { table, row } of this.#untold.splice(0, count)) {
      this.#told.push({ table, row, position: await this.feed.emit(table, { after: row }) })
    }
  }

  async repeat(back: number): Promise<void> {
    for (const { table, row, position } of this.#told.slice(-back))
      await this.feed.emit(table, { after: row }, position)
  }

  async gap(): Promise<void> {
    this.#untold.splice(0)
    this.#told.splice(0)
    await this.feed.gap('lost')
  }

  answer(which: number): void {
    if (this.#underWay.length > 0) this.#underWay.splice(which % this.#underWay.length, 1)[0]?.()
  }

  /** From now on handlers answer immediately and the feed delivers everything. */
  async calm(): Promise<void> {
    this.#free = true
    for (const answer of this.#underWay.splice(0)) answer()
    await this.tell(Infinity)
  }
}

function rule(table: string, param: string): ChangeRule {
  return {
    table: { schema: 'public', name: table, columns: [], routing: [] },
    ops: ['insert', 'update', 'delete'],
    params: (row) => ({ [param]: String(row[param]) }),
    ...(table === 'talk' ? { data: (row: Row) => ({ id: row['id'] }) } : {}),
  }
}

/** Long enough that patches are sent, and different enough that a wrong one shows. */
function valueOf(id: number, version: number): object {
  return {
    id,
    version,
    pad: 'p'.repeat(60),
    items: Array.from({ length: version % 5 }, (_, n) => ({ id: n, version })),
  }
}

/** A client that follows R7 and R8, acts in its own order, and may lose its connection at any time. */
class Client {
  readonly values: Map<string, HeldValue> = new Map(
    things.map((id) => [`things/${id}`, new HeldValue((value) => (value as { version: number }).version)]),
  )
  readonly log: HeldLog = new HeldLog()
  readonly #kind: Kind
  readonly #product: Product
  readonly #origin: string
  #turn: Promise<void> = Promise.resolve()
  #connection: { close(): void } | null = null

  constructor(kind: Kind, product: Product, origin: string) {
    this.#kind = kind
    this.#product = product
    this.#origin = origin
  }

  get breaches(): string[] {
    return [...this.values.values(), this.log].flatMap((held) => held.breaches)
  }

  /** Reads the endpoints, unless pushes are coming. */
  get(): void {
    this.#next(async () => {
      if (this.#connection !== null) return
      for (const [topic, held] of this.values) held.read(await this.#fetch(`/${topic}`))
    })
  }

  /** Polls once, or connects if it is not connected. */
  sync(): void {
    this.#next(async () => {
      if (this.#kind === 'poll') await this.#poll()
      else if (this.#connection === null) await this.#connect()
      if (this.log.mustRead) await this.#readLog()
    })
  }

  drop(): void {
    this.#next(() => {
      this.#connection?.close()
      this.#connection = null
      return Promise.resolve()
    })
  }

  async settled(): Promise<void> {
    await this.#turn
  }

  #next(action: () => Promise<void>): void {
    this.#turn = this.#turn.then(action)
  }

  async #fetch(url: string): Promise<{ header: string | undefined; body: unknown }> {
    const { headers, payload } = await this.#product.app.inject(url)
    return { header: headers['crossfade'] as string | undefined, body: JSON.parse(payload) }
  }

  async #readLog(): Promise<void> {
    const { body } = await this.#fetch(`/${logTopic}`)
    this.log.read((body as { messages: string[] }).messages)
  }

  #positions(): Record<string, object> {
    const positions: Record<string, object> = { [logTopic]: this.log.position }
    for (const [topic, held] of this.values) {
      held.begin()
      positions[topic] = { ...held.position, ...(this.#kind === 'hint' ? { mode: 'changes' } : {}) }
    }
    return positions
  }

  #hear(message: ServerMessage): void {
    if (!('topic' in message) || message.topic === undefined) return
    if (message.topic === logTopic) this.log.hear(message)
    else if (this.#kind === 'hint') this.#readLater(message)
    else this.values.get(message.topic)?.hear(message)
  }

  /** Stage hint: any message about a topic except "continue from your cursor" means that the endpoint must be read. */
  #readLater(message: ServerMessage & { topic?: string }): void {
    const { topic = '' } = message
    const held = this.values.get(topic)
    if (message.type === 'subscribed' && message.recovered && message.cursor === held?.cursor) return
    this.#next(async () => held?.read(await this.#fetch(`/${topic}`)))
  }

  async #poll(): Promise<void> {
    const payload = { topics: this.#positions(), wait: 5 }
    const answer = await this.#product.app.inject({ method: 'POST', url: '/crossfade/poll', payload })
    for (const message of answer.json<{ messages: ServerMessage[] }>().messages) this.#hear(message)
  }

  async #connect(): Promise<void> {
    const topics = this.#positions()
    const connection = this.#kind === 'sse' ? await this.#openStream(topics) : await this.#openSocket(topics)
    this.#connection = connection
    let read = 0
    const joined = new Set<string>()
    // Messages are applied as they come, for as long as this connection is the client's.
    const timer = setInterval(() => {
      if (this.#connection !== connection) clearInterval(timer)
      else {
        for (const message of connection.messages.slice(read)) {
          read += 1
          this.#hear(message)
          if (message.type === 'subscribed') joined.add(message.topic)
        }
        if (this.log.mustRead && joined.has(logTopic)) this.#lateRead()
      }
    }, 1)
  }

  #reading = false
  /** The log was lost on a live connection: it is read again beside the pushes. */
  #lateRead(): void {
    if (this.#reading) return
    this.#reading = true
    void this.#readLog().finally(() => (this.#reading = false))
  }

  async #openSocket(topics: Record<string, object>): Promise<Socket> {
    const socket = await Socket.greet(this.#origin)
    socket.send(
      ...Object.entries(topics).map(([topic, position]) => ({ type: 'subscribe', id: topic, topic, ...position })),
    )
    return socket
  }

  #openStream(topics: Record<string, object>): Promise<Stream> {
    return Stream.open(`${this.#origin}/crossfade/sse`, { body: { topics } })
  }
}

async function run(steps: readonly Step[]): Promise<void> {
  const product = new Product()
  const origin = await product.start()
  const clients = kinds.map((kind) => new Client(kind, product, origin))
  try {
    for (const action of steps) {
      await perform(action, product, clients)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await product.calm()
    await vi
      .waitUntil(
        async () => {
          for (const client of clients) client.sync()
          await Promise.all(clients.map((client) => client.settled()))
          return clients.every((client) => isCurrent(client, product) || client.breaches.length > 0)
        },
        { timeout: 30_000, interval: 5 },
      )
      .catch(() => {})
    expect(clients.flatMap((client) => client.breaches)).toEqual([])
    for (const client of clients) {
      const held = [...client.values.values()].map(({ value }) => value)
      expect(held).toEqual(things.map((id) => product.source.get(id)))
      expect([...client.log.keys].toSorted()).toEqual(product.said.toSorted())
    }
  } finally {
    for (const client of clients) client.drop()
    await Promise.all(clients.map((client) => client.settled()))
    await product.app.close()
  }
}

function isCurrent(client: Client, product: Product): boolean {
  const values = things.every(
    (id) => JSON.stringify(client.values.get(`things/${id}`)?.value) === JSON.stringify(product.source.get(id)),
  )
  return values && client.log.keys.size === product.said.length
}

async function perform(action: Step, product: Product, clients: readonly Client[]): Promise<void> {
  switch (action.do) {
    case 'change':
      return product.change(action.thing)
    case 'say':
      return product.say()
    case 'tell':
      return product.tell(action.count)
    case 'repeat':
      return product.repeat(action.back)
    case 'gap':
      return product.gap()
    case 'answer':
      return product.answer(action.which)
    default:
      clients[action.client]?.[action.do]()
  }
}

describe('whatever happens in whatever order', () => {
  it('every client on every transport ends with what the source has, and never goes back (R2–R8)', async () => {
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80 }), run), {
      numRuns: 40,
      seed: 20260720,
      endOnFailure: true,
    })
  }, 120_000)
})
