import { CrossfadeError, parsePollAnswer, type PollAnswer, type ServerMessage } from '@crossfade/protocol'
import Fastify, { type FastifyInstance } from 'fastify'
import type { ChangeBatch, ChangeFeed, ChangeRule, Row } from '@crossfade/changefeed'
import crossfade, { type CrossfadeOptions } from '../src/index.ts'

/** A feed that tests drive by hand. */
export class HandFeed implements ChangeFeed {
  #sink: (batch: ChangeBatch) => Promise<void> = () => Promise.resolve()
  #position = 0

  start(sink: (batch: ChangeBatch) => Promise<void>): Promise<void> {
    this.#sink = sink
    return Promise.resolve()
  }

  stop(): Promise<void> {
    return Promise.resolve()
  }

  /** Emits one transaction; `position` repeats an earlier one. */
  async emit(table: string, change: { before?: Row; after?: Row }, position?: number): Promise<number> {
    const at = position ?? (this.#position += 1)
    const op = change.before === undefined ? 'insert' : change.after === undefined ? 'delete' : 'update'
    await this.#sink({
      source: 'hand',
      position: String(at).padStart(16, '0'),
      transaction: String(at),
      committedAt: Date.now(),
      changes: [{ table: `public.${table}`, op, before: change.before ?? null, after: change.after ?? null }],
    })
    return at
  }

  async gap(reason: string): Promise<void> {
    this.#position += 1
    const position = String(this.#position).padStart(16, '0')
    await this.#sink({
      source: 'hand',
      position,
      transaction: '',
      committedAt: Date.now(),
      changes: [],
      gap: { reason },
    })
  }
}

function rule(table: string, params: (row: Row) => Record<string, string>, data?: (row: Row) => unknown): ChangeRule {
  return {
    table: { schema: 'public', name: table, columns: [], routing: [] },
    ops: data ? ['insert'] : ['insert', 'update', 'delete'],
    params,
    ...(data ? { data } : {}),
  }
}

export interface Order extends Row {
  id: number
  version: number
}

/** A small polling product, wrapped: what the server's tests use. */
export interface Shop {
  readonly app: FastifyInstance
  readonly feed: HandFeed
  readonly orders: Map<number, Order>
  readonly notes: Map<string, string[]>
  readonly messages: { id: number; room: string; text: string }[]
  /** How often the handler of `/api/orders/:id` ran. */
  readonly runs: { order: number }
  putOrder(id: number, version: number): Promise<void>
  say(room: string, text: string): Promise<void>
  listen(): Promise<string>
}

const tokens: Record<string, string> = { 'ann-token': 'ann', 'bob-token': 'bob', 'ann-new-token': 'ann' }

/** Who may enter; `ann` loses her right when a test removes her. */
export const members = new Set(['ann', 'bob'])

export function principalOf(authorization: unknown): { id: string } | null {
  if (authorization === undefined) return null
  const id = typeof authorization === 'string' ? tokens[authorization.replace('Bearer ', '')] : undefined
  if (id === undefined) throw new CrossfadeError('unauthenticated', 'The token is not known.')
  return { id }
}

export async function openShop(
  options: CrossfadeOptions = {},
  prepare: (app: FastifyInstance) => void = () => {},
): Promise<Shop> {
  const feed = new HandFeed()
  const app = Fastify({ forceCloseConnections: true })
  const orders = new Map<number, Order>([[1, { id: 1, version: 1 }]])
  const notes = new Map<string, string[]>()
  const messages: Shop['messages'] = []
  const runs = { order: 0 }
  await app.register(crossfade, {
    feed,
    authenticate: ({ headers }) => principalOf(headers.authorization),
    operator: (request) => request.headers.authorization === 'Bearer operator',
    ...options,
  })
  prepare(app)
  const login = (authorization: unknown): string | null => {
    try {
      const id = principalOf(authorization)?.id
      return id !== undefined && members.has(id) ? id : null
    } catch {
      return null
    }
  }
  app.get<{ Params: { id: string } }>(
    '/api/orders/:id',
    {
      config: {
        crossfade: {
          topic: 'orders/:id',
          feature: 'order-page',
          audience: 'public',
          on: [rule('orders', (row) => ({ id: String(row['id']) }))],
        },
      },
    },
    async (request, reply) => {
      runs.order += 1
      const order = orders.get(Number(request.params.id))
      return order ?? reply.code(404).send({ error: 'none' })
    },
  )
  app.get(
    '/api/notes',
    {
      config: {
        crossfade: {
          topic: 'users/:user/notes',
          params: (request) => ({ user: login(request.headers.authorization) ?? '' }),
          on: [rule('notes', (row) => ({ user: String(row['user']) }))],
        },
      },
    },
    async (request, reply) => {
      const user = login(request.headers.authorization)
      return user === null ? reply.code(401).send({ error: 'login' }) : { user, notes: notes.get(user) ?? [] }
    },
  )
  app.get<{ Params: { room: string }; Querystring: { after?: string } }>(
    '/api/rooms/:room/messages',
    {
      config: {
        crossfade: {
          log: 'rooms/:room/messages',
          key: 'id',
          event: 'message',
          paging: ['after'],
          on: [
            rule(
              'messages',
              (row) => ({ room: String(row['room']) }),
              (row) => ({ id: row['id'], text: row['text'] }),
            ),
          ],
        },
      },
    },
    async (request, reply) => {
      if (login(request.headers.authorization) === null) return reply.code(401).send({ error: 'login' })
      const { room } = request.params
      const after = Number(request.query.after ?? 0)
      return { messages: messages.filter((message) => message.room === room && message.id > after) }
    },
  )
  app.crossfade.log('ticks/:symbol', { public: true })
  return {
    app,
    feed,
    orders,
    notes,
    messages,
    runs,
    async putOrder(id, version) {
      const before = orders.get(id)
      orders.set(id, { id, version })
      await feed.emit('orders', { ...(before ? { before } : {}), after: { id, version } })
    },
    async say(room, text) {
      const message = { id: messages.length + 1, room, text }
      messages.push(message)
      await feed.emit('messages', { after: message })
    },
    listen: () => app.listen({ host: '127.0.0.1', port: 0 }),
  }
}

export const ann = { authorization: 'Bearer ann-token' }
export const bob = { authorization: 'Bearer bob-token' }

/** One poll of many topics. */
export async function poll(
  shop: Shop,
  topics: object,
  options: { wait?: number; stagesSince?: number | undefined; headers?: Record<string, string> } = {},
): Promise<PollAnswer> {
  const { headers = {}, ...rest } = options
  const response = await shop.app.inject({
    method: 'POST',
    url: '/crossfade/poll',
    headers,
    payload: { topics, ...rest },
  })
  if (response.statusCode !== 200) throw new Error(`${response.statusCode} ${response.payload}`)
  return parsePollAnswer(response.json())
}

/** The messages of one type. */
export function ofType<Type extends ServerMessage['type']>(
  messages: readonly ServerMessage[],
  type: Type,
): Extract<ServerMessage, { type: Type }>[] {
  return messages.filter((message): message is Extract<ServerMessage, { type: Type }> => message.type === type)
}
