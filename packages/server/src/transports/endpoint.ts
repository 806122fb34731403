import { CrossfadeError, formatHeader, hashValue, headerName } from '@crossfade/protocol'
import type { FastifyInstance, FastifyReply, FastifyRequest, onRouteHookHandler } from 'fastify'
import type { Identity } from '../identity/principal.ts'
import { isJson, privateReason } from '../topics/answer-headers.ts'
import { routeDefinition, topicKey, topicOfRequest, varyHeaders, type TopicDefinition } from '../topics/definition.ts'
import type { LiveTopic, TopicPlace } from '../topics/live-topic.ts'
import type { TopicRegistry } from '../topics/registry.ts'
import { ValueTopic } from '../topics/value-topic.ts'
import type { TransportContext } from './context.ts'
import { requireOrigin, takeConnection } from './guard.ts'
import { holdForChange } from './endpoint-hold.ts'
import { lastEventId } from './last-event-id.ts'
import { acceptsEventStream, noneMatch, preferredWait, varyWith } from './preferences.ts'
import { sendProblem } from './problem.ts'
import { openSseStream } from './sse-stream.ts'

type RouteOptions = NonNullable<NonNullable<FastifyRoute['config']>['crossfade']>
type FastifyRoute = Parameters<onRouteHookHandler>[0]

/** What the wrapper knows of a request between its hooks. */
interface Wrapped {
  readonly topic: LiveTopic
  readonly identity: Identity
  /** The cursor before the handler read its data: the data may be newer than it, never older (R8). */
  readonly cursor: string
  /** When the handler began, in the order of revocations. */
  readonly since: number
  /** How long the client was willing to wait, as far as the server is, ms; `null`: a plain request (R12). */
  readonly waitMs: number | null
  /** The body before a later hook compressed it. */
  body?: string
}

/**
 * Wraps the routes that say `config.crossfade`: same URL, same answer, and on top of it the `Crossfade` header, `ETag` and 304, long
 * poll by `Prefer: wait`, and SSE by `Accept` (PROTOCOL §3). The handler is not touched.
 */
export class EndpointWrapper {
  readonly #context: TransportContext
  readonly #registry: TopicRegistry
  readonly #runs = new WeakMap<FastifyRequest, string>()
  readonly #wrapped = new WeakMap<FastifyRequest, Wrapped>()
  readonly #definitions = new WeakMap<RouteOptions, TopicDefinition>()
  readonly #warned = new Set<TopicDefinition>()

  constructor(context: TransportContext, registry: TopicRegistry) {
    this.#context = context
    this.#registry = registry
  }

  install(app: FastifyInstance): void {
    app.addHook('onRoute', (route) => this.#wrap(route))
  }

  /** Says once for each route that its answers look private (R15). */
  warnPrivate(definition: TopicDefinition, reason: string): void {
    if (this.#warned.has(definition)) return
    this.#warned.add(definition)
    this.#context.warn(
      `The route ${definition.url} says audience: 'public', but its answer looks private: ${reason}. It is not shared. Give the route audience: 'principal', or drop the header.`,
    )
  }

  #wrap(route: FastifyRoute): void {
    const options = route.config?.crossfade
    if (options === undefined) return
    if (route.method === 'HEAD') return this.#wrapHead(route, options)
    if (route.method !== 'GET') {
      throw new CrossfadeError(
        'invalid_options',
        `The route ${String(route.method)} ${route.url} has config.crossfade, but only GET routes can be topics.`,
      )
    }
    const definition = routeDefinition(route.url, options)
    this.#definitions.set(options, definition)
    this.#registry.add(definition)
    this.#context.rollout.declare(definition.feature)
    route.onRequest = [this.#markRun, ...listOf(route.onRequest)]
    route.preHandler = [...listOf(route.preHandler), this.#before(definition)]
    route.onSend = [this.#keepBody, ...listOf(route.onSend), this.#after]
  }

  /** The `HEAD` that Fastify makes of a `GET` answers with the same headers (RFC 9110 §9.3.2), at once. */
  #wrapHead(route: FastifyRoute, options: RouteOptions): void {
    const definition = this.#definitions.get(options)
    if (definition === undefined) return
    route.preHandler = [...listOf(route.preHandler), this.#before(definition)]
    route.onSend = [this.#keepBody, ...listOf(route.onSend), this.#after]
  }

  /** Recognises the server's own in-process runs, before any hook of the application sees the mark. */
  readonly #markRun = async (request: FastifyRequest): Promise<void> => {
    const run = this.#context.runner.runOf(request)
    if (run !== null) this.#runs.set(request, run)
  }

  /** After the application's own hooks: the client may be here, and its parameters are valid. */
  #before(definition: TopicDefinition) {
    return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | void> => {
      const run = this.#runs.get(request)
      try {
        const found = await this.#find(definition, request)
        if (run !== undefined) return this.#context.runner.note(run, found?.place.key ?? null)
        if (found === null) return
        return await this.#serve(found.place, found.identity, request, reply)
      } catch (error) {
        if (error instanceof CrossfadeError) return sendProblem(error, request, reply)
        throw error
      }
    }
  }

  /** @returns the reply when the answer was given here; else the handler gives it. */
  async #serve(
    place: TopicPlace,
    identity: Identity,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply | void> {
    const isGet = request.method === 'GET'
    if (isGet && acceptsEventStream(request.headers.accept)) return this.#stream(place, identity, request, reply)
    const topic = await this.#context.hub.hold(place)
    const waitMs = isGet ? this.#waitMs(request) : null
    try {
      if (waitMs !== null && (await this.#hold(topic, identity, waitMs, request, reply))) return reply
    } finally {
      topic.release()
    }
    this.#wrapped.set(request, { topic, identity, cursor: topic.cursor, since: this.#context.access.moment(), waitMs })
  }

  /** The topic of a request and who asks, or `null` when the answer is nobody's topic: then it stays as it was. */
  async #find(
    definition: TopicDefinition,
    request: FastifyRequest,
  ): Promise<{ place: TopicPlace; identity: Identity } | null> {
    try {
      const name = topicOfRequest(definition, request)
      if (name === null) return null
      const identity = await this.#context.authenticator.identify(request.headers)
      const key = topicKey(definition, name, identity)
      const resolved = this.#registry.resolve(name)
      // A name that is another route's topic ("orders/late" of "orders/:id") is that route's to answer.
      if (key === null || resolved?.definition !== definition) return null
      return { place: { ...resolved, name, key, headers: varyHeaders(definition, identity) }, identity }
    } catch (error) {
      // A bad token is told to who wants more than the endpoint's own answer; a plain request is the endpoint's to judge (R50).
      if (error instanceof CrossfadeError && error.code === 'unauthenticated' && wantsMore(request)) throw error
      // No topic can be made of this request; the endpoint answers it as it always did.
      return null
    }
  }

  async #stream(
    place: TopicPlace,
    identity: Identity,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply | void> {
    requireOrigin(this.#context, request)
    try {
      await this.#context.access.check(place, identity)
    } catch {
      // The endpoint refuses this client: it says so itself.
      return
    }
    const give = takeConnection(this.#context, request, identity)
    const session = await openSseStream(this.#context, request, reply, { identity, withIds: true, proof: false, give })
    await session.subscribe({ topic: place.name, cursor: lastEventId(request) })
    return reply
  }

  #waitMs(request: FastifyRequest): number | null {
    const waitS = preferredWait(request.headers.prefer)
    return waitS === null ? null : Math.min(waitS * 1000, this.#context.limits.maxHoldMs)
  }

  /** @returns whether the answer was given; else the handler gives it. */
  async #hold(
    topic: LiveTopic,
    identity: Identity,
    waitMs: number,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<boolean> {
    requireOrigin(this.#context, request)
    const etag = request.headers['if-none-match']
    if (etag === undefined || waitMs === 0) return false
    const give = takeConnection(this.#context, request, identity)
    try {
      const hold = { url: request.originalUrl, etag, waitMs, closed: reply.raw }
      const changed = await holdForChange(this.#context, topic, identity, hold)
      if (changed) return false
    } finally {
      give()
    }
    const hash = topic instanceof ValueTopic ? topic.state.snapshot?.hash : undefined
    this.#advertise(reply, topic, topic.cursor, hash)
    sayHeld(reply, waitMs)
    await reply
      .code(304)
      .header('etag', topic instanceof ValueTopic ? topic.tags[0] : etag)
      .send()
    return true
  }

  /** Before any compression. */
  readonly #keepBody = async (request: FastifyRequest, _reply: FastifyReply, payload: unknown): Promise<unknown> => {
    const wrapped = this.#wrapped.get(request)
    if (wrapped !== undefined && typeof payload === 'string') wrapped.body = payload
    return payload
  }

  readonly #after = async (request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> => {
    const wrapped = this.#wrapped.get(request)
    if (wrapped === undefined) return payload
    const { topic, identity } = wrapped
    const { definition } = topic.place
    const body = typeof payload === 'string' ? payload : wrapped.body
    if (
      reply.statusCode < 200 ||
      reply.statusCode > 299 ||
      body === undefined ||
      !isJson(reply.getHeader('content-type'))
    ) {
      this.#context.hub.discard(topic)
      return payload
    }
    const reason =
      definition.audience === 'public' && definition.kind === 'value' ? privateReason(reply.getHeaders()) : null
    if (reason !== null) {
      this.warnPrivate(definition, reason)
      this.#context.hub.discard(topic)
      return payload
    }
    // Who is nobody here may be somebody to the handler, by a credential that is not known: the answer proves nothing for others.
    if (definition.authorize === null && identity.principal !== null)
      this.#context.access.granted(topic.place, identity, wrapped.since)
    const hash = hashOf(topic, wrapped.cursor, body)
    if (hash === null) return payload
    this.#advertise(reply, topic, wrapped.cursor, hash)
    if (wrapped.waitMs !== null) sayHeld(reply, wrapped.waitMs)
    return this.#conditional(request, reply, hash, payload)
  }

  #advertise(reply: FastifyReply, topic: LiveTopic, cursor: string, hash: string | undefined): void {
    const { definition, name } = topic.place
    const header = formatHeader({
      topic: name,
      cursor,
      ...(hash === undefined ? {} : { hash }),
      feature: definition.feature,
      ...this.#context.rollout.get(definition.feature),
      base: this.#context.base,
      ...(definition.kind === 'log' ? { kind: 'log' } : {}),
    })
    // A client whose request says what no subscription can, such as a tenant, sees by the names that this answer is not the topic's.
    const names = ['Accept', 'Prefer', ...definition.vary]
    void reply.header(headerName, header).header('vary', varyWith(reply.getHeader('vary'), names))
    if (reply.getHeader('access-control-allow-origin') !== undefined) {
      const exposed = reply.getHeader('access-control-expose-headers')
      void reply.header('access-control-expose-headers', varyWith(exposed, [headerName, 'ETag', 'Vary']))
    }
  }

  /** R11: the tag, and 304 when the client has it. */
  #conditional(request: FastifyRequest, reply: FastifyReply, hash: string, payload: unknown): unknown {
    const own = `W/"${hash}"`
    const present = reply.getHeader('etag')
    if (present === undefined) void reply.header('etag', own)
    const given = request.headers['if-none-match']
    if (!noneMatch(given, own) && (present === undefined || !noneMatch(given, String(present)))) return payload
    if (payload !== null && typeof payload === 'object' && 'destroy' in payload)
      (payload as { destroy(): void }).destroy()
    void reply.code(304).removeHeader('content-length').removeHeader('content-type').removeHeader('content-encoding')
    return null
  }
}

/** A stream, or an answer that is held. */
function wantsMore({ method, headers }: FastifyRequest): boolean {
  return method === 'GET' && (acceptsEventStream(headers.accept) || preferredWait(headers.prefer) !== null)
}

/** A held answer says for how long, and is nobody's to keep (R12). */
function sayHeld(reply: FastifyReply, waitMs: number): void {
  void reply.header('preference-applied', `wait=${Math.floor(waitMs / 1000)}`).header('cache-control', 'no-store')
}

/**
 * The hash of a body; `null` when it is no JSON after all, which is not for us to judge.
 *
 * Most polls find what the topic holds: then its hash is known. A body that differs from it only in fields that the route ignores
 * has the same: nobody is told of a change that is none.
 */
function hashOf(topic: LiveTopic, cursor: string, body: string): string | null {
  const held = topic instanceof ValueTopic ? topic.state.snapshot : null
  if (held?.data === body) return held.hash
  try {
    const value: unknown = JSON.parse(body)
    const hash = hashValue(value)
    if (!(topic instanceof ValueTopic)) return hash
    if (topic.agrees({ value, hash })) return held?.hash ?? hash
    doubt(topic, cursor)
    return hash
  } catch {
    return null
  }
}

/** An answer that differs from a settled value at the same cursor: something changed that no rule told. The topic looks again (R8). */
function doubt(topic: ValueTopic, cursor: string): void {
  if (topic.needed && topic.settled && topic.cursor === cursor) topic.invalidate()
}

function listOf<T>(hooks: T | T[] | undefined): T[] {
  if (hooks === undefined) return []
  return Array.isArray(hooks) ? hooks : [hooks]
}
