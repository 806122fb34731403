import { CrossfadeError, parsePollAnswer, type PollAnswer, type ServerMessage } from '@crossfade/protocol'
import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify'
import crossfade, { type CrossfadeOptions } from '../src/index.ts'
import { ofType } from './shop.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'

export type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

/** So long that nothing happens by itself. */
export const never = 1_000_000

/** One endpoint of each kind – `mine` is a principal's value, `news` a public one, `talk` a log – whose answer a test changes as it goes. */
export class Endpoints {
  readonly app: FastifyInstance
  origin = ''
  version = 1
  /** What all endpoints answer instead of their value. */
  trouble: Handler | null = null
  /** The runs of the server and the requests of clients, in the order in which their handlers began: `check /talk`. */
  readonly runs: string[] = []
  readonly #sockets: Socket[] = []
  readonly #streams: Stream[] = []

  private constructor(app: FastifyInstance) {
    this.app = app
  }

  static async open(options: CrossfadeOptions = {}, server: FastifyServerOptions = {}): Promise<Endpoints> {
    const app = Fastify({ forceCloseConnections: true, ...server })
    const endpoints = new Endpoints(app)
    await app.register(crossfade, {
      authenticate: ({ headers }) => principalOf(headers.authorization),
      grantMs: never,
      reauthorizeMs: never,
      loadTimeoutMs: 300,
      ...options,
    })
    const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
      endpoints.runs.push(`${request.crossfade ?? 'client'} ${request.url}`)
      return endpoints.trouble === null ? { version: endpoints.version } : endpoints.trouble(request, reply)
    }
    app.get('/mine', { config: { crossfade: { topic: 'mine' } } }, handler)
    app.get('/news', { config: { crossfade: { topic: 'news', audience: 'public' } } }, handler)
    app.get('/talk', { config: { crossfade: { log: 'talk', key: 'n' } } }, handler)
    app.crossfade.log('markers', { public: true })
    return endpoints
  }

  async listen(): Promise<this> {
    this.origin = await this.app.listen({ host: '127.0.0.1', port: 0 })
    return this
  }

  /** A new version of every value, and an event. */
  async change(): Promise<void> {
    this.version += 1
    for (const topic of ['mine', 'news']) this.app.crossfade.invalidate(topic)
    await this.app.crossfade.publish('talk', 'said', { n: this.version }, { key: String(this.version) })
  }

  async socket(token: string | undefined, ...topics: string[]): Promise<Socket> {
    const socket = await Socket.greet(this.origin, token)
    this.#sockets.push(socket)
    for (const topic of topics) {
      socket.send({ type: 'subscribe', id: topic, topic })
      await socket.next('subscribed')
    }
    return socket
  }

  /** A stream of these topics that has begun. */
  async stream(token: string, topics: Record<string, object>): Promise<Stream> {
    const stream = await Stream.open(`${this.origin}/crossfade/sse`, { headers: as(token), body: { topics } })
    this.#streams.push(stream)
    await until(() => ofType(stream.messages, 'subscribed').length === Object.keys(topics).length)
    return stream
  }

  async poll(token: string | undefined, topics: object, wait = 0): Promise<PollAnswer> {
    const response = await this.app.inject({
      method: 'POST',
      url: '/crossfade/poll',
      headers: token === undefined ? {} : as(token),
      payload: { topics, wait },
    })
    return parsePollAnswer(response.json())
  }

  /** Everything that was on its way to these readers has arrived when this resolves. They listen to `markers`. */
  async settle(...readers: { readonly messages: readonly ServerMessage[] }[]): Promise<void> {
    const cursor = await this.app.crossfade.publish('markers', 'marker', null)
    await until(() =>
      readers.every(({ messages }) => ofType(messages, 'event').some((event) => event.cursor === cursor)),
    )
  }

  async connections(): Promise<number> {
    return (await this.app.inject('/crossfade/health')).json<{ connections: number }>().connections
  }

  /** How many of the handlers that began match this text, such as `check` or `load /mine`. */
  count(what: string): number {
    return this.runs.filter((run) => run.startsWith(what)).length
  }

  async close(): Promise<void> {
    for (const reader of [...this.#sockets, ...this.#streams]) reader.close()
    await this.app.close()
  }
}

/** The token `ann`, or `ann.2`, is Ann's. */
export function principalOf(authorization: string | string[] | undefined): { id: string } | null {
  if (typeof authorization !== 'string') return null
  const id = /^Bearer (\w+)(?:\.\d+)?$/.exec(authorization)?.[1]
  if (id === undefined || id === 'bad') throw new CrossfadeError('unauthenticated', 'The token is not known.')
  return { id }
}

export const as = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })

/** The versions that a reader was told of a topic, in order: those of snapshots and patches, or the numbers of a log's events. */
export function versionsOf(messages: readonly ServerMessage[], topic: string): unknown[] {
  return ofType(messages, 'event')
    .filter((event) => event.topic === topic)
    .map(({ event, data }) => {
      if (event === 'patch') return (data as { value: unknown }[])[0]?.value
      const { version, n } = (data ?? {}) as { version?: unknown; n?: unknown }
      return version ?? n ?? null
    })
}

export async function until(condition: () => boolean, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`it never came true: ${condition.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
