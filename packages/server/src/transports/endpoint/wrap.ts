import { CrossfadeError } from '@crossfade/protocol'
import type { FastifyInstance, FastifyReply, FastifyRequest, onRouteHookHandler } from 'fastify'
import { isJson, privateReason } from '../../endpoints/answer-headers.ts'
import { requireNoOther } from '../../endpoints/misplaced-block.ts'
import { routeDefinition, type TopicDefinition } from '../../endpoints/definition.ts'
import type { TopicRegistry } from '../../endpoints/registry.ts'
import { serviceName } from '../../endpoints/run-diagnosis.ts'
import type { Identity } from '../../identity/principal.ts'
import type { LiveTopic } from '../../topics/live-topic.ts'
import type { TransportContext } from '../context.ts'
import { sendProblem } from '../problem.ts'
import { advertise, conditional, sayHeld } from './decorate.ts'
import { findTopic, type FoundTopic } from './find.ts'
import { noteHeard } from '../../declared-routes.ts'
import type { Skipped } from '../../endpoints/skips.ts'
import { answerHeld } from './hold.ts'
import { holdWithin } from '../../timeouts.ts'
import { hashesOfBody, hashOfTag } from './observe.ts'
import { isResponse, readBody, unwrapResponse, type ReadBody } from './read-body.ts'
import { acceptsEventStream, preferredWait } from './preferences.ts'
import { streamTopic } from './stream.ts'

type RouteOptions = NonNullable<NonNullable<FastifyRoute['config']>['crossfade']>
type FastifyRoute = Parameters<onRouteHookHandler>[0]

const nothingRead: ReadBody = { text: null, payload: undefined }

/** What the wrapper knows about a request between its hooks. */
interface Wrapped {
  readonly topic: LiveTopic
  readonly identity: Identity
  /** The cursor before the handler read its data: the data may be newer than it, never older (R8). */
  readonly cursor: string
  /** The number of revocations when the handler began. */
  readonly seq: number
  /** How long the client is willing to wait, up to the server's limit, ms; `null`: a plain request (R12). */
  readonly waitMs: number | null
  /** The body before the hooks of the route, one of which may compress it. */
  body: ReadBody
}

/**
 * Wraps the routes that say `config.crossfade`: same URL, same answer, and on top of it the `Crossfade` header, `ETag` and 304, long
 * poll by `Prefer: wait`, and SSE by `Accept` (PROTOCOL §3). The handler is not touched.
 */
export class EndpointWrapper {
  readonly #context: TransportContext
  readonly #registry: TopicRegistry
  readonly #wrapped = new WeakMap<FastifyRequest, Wrapped>()
  readonly #definitions = new WeakMap<RouteOptions, TopicDefinition>()
  readonly #warned = new Set<TopicDefinition>()
  /** Requests that reached the handler, or were answered here. */
  readonly #handled = new WeakSet<FastifyRequest>()

  constructor(context: TransportContext, registry: TopicRegistry) {
    this.#context = context
    this.#registry = registry
  }

  install(app: FastifyInstance): void {
    app.addHook('onRoute', (route) => this.#wrap(route))
  }

  /** Warns once for each route that its answers look private (R15). */
  warnPrivate(definition: TopicDefinition, reason: string): void {
    if (this.#warned.has(definition)) return
    this.#warned.add(definition)
    this.#context.warn(
      `The route ${definition.url} says audience: 'public', but its answer looks private: ${reason}. It is not shared. Give the route audience: 'principal', or drop the header.`,
    )
  }

  #wrap(route: FastifyRoute): void {
    const options = route.config?.crossfade
    if (options === undefined) return requireNoOther(route)
    noteHeard(route)
    const methods = [route.method].flat().map(String)
    const known = String(methods) === 'HEAD' ? this.#definitions.get(options) : undefined
    if (known !== undefined) return this.#wrapHead(route, known)
    if (!methods.includes('GET') || methods.some((method) => method !== 'GET' && method !== 'HEAD')) {
      throw new CrossfadeError(
        'invalid_options',
        `The route ${String(route.method)} ${route.url} has config.crossfade, but only GET routes can be topics. Put it on the GET route alone.`,
      )
    }
    const definition = routeDefinition(route.url, options, route.constraints)
    this.#registry.add(definition)
    this.#definitions.set(options, definition)
    this.#context.rollout.declare(definition.feature)
    route.preHandler = [...listOf(route.preHandler), this.#before(definition)]
    route.onSend = [this.#keepBody, ...listOf(route.onSend), this.#after(definition)]
  }

  /** The `HEAD` route that Fastify derives from a `GET` answers with the same headers (RFC 9110 §9.3.2), without being held. */
  #wrapHead(route: FastifyRoute, definition: TopicDefinition): void {
    route.preHandler = [...listOf(route.preHandler), this.#before(definition)]
    route.onSend = [this.#keepBody, ...listOf(route.onSend), this.#after(definition)]
  }

  /** After the application's own hooks: the client is admitted, and its parameters are valid. */
  #before(definition: TopicDefinition) {
    return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | void> => {
      const { authenticator, runner, skips, idSpelling } = this.#context
      this.#handled.add(request)
      try {
        const found = await findTopic(definition, request, { registry: this.#registry, authenticator, skips })
        if (!('skipped' in found)) idSpelling?.check(found.address)
        if (request.crossfade !== null) {
          if ('skipped' in found && found.isMistake === true) skips.tell(definition, found)
          if ('skipped' in found && found.isUncertain === true) runner.doubt(request)
          return runner.note(request, 'skipped' in found ? null : found.address.key)
        }
        if ('skipped' in found) return this.#skip(definition, found, reply)
        return await this.#serve(found, request, reply)
      } catch (error) {
        if (error instanceof CrossfadeError) return sendProblem(error, request, reply)
        throw error
      }
    }
  }

  /** The answer belongs to no topic, and stays as it is; in development it says why. */
  #skip(definition: TopicDefinition, skipped: Skipped, reply: FastifyReply): void {
    this.#context.skips.tell(definition, skipped)
    this.#say(reply, skipped)
  }

  #say(reply: FastifyReply, skipped: Skipped): void {
    const header = this.#context.skips.headerFor(skipped)
    if (header !== null) void reply.header(...header)
  }

  /** @returns the reply when the answer was given here; otherwise the handler gives it. */
  async #serve(found: FoundTopic, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | void> {
    const { hub, access, gate } = this.#context
    const isGet = request.method === 'GET'
    if (isGet && acceptsEventStream(request.headers.accept)) return streamTopic(this.#context, found, request, reply)
    // Another process may push, and this one cannot say with which cursor: the answer stays as it was.
    if (gate.isSilent) return this.#say(reply, { skipped: gate.refusal })
    const { identity } = found
    const topic = await hub.acquire(found.address)
    const waitMs = isGet && gate.isOpen ? this.#waitMs(request) : null
    try {
      if (waitMs !== null && (await answerHeld(this.#context, { topic, identity, waitMs }, request, reply)))
        return reply
    } finally {
      topic.release()
    }
    this.#wrapped.set(request, {
      topic,
      identity,
      cursor: topic.cursor,
      seq: access.revocationSeq(),
      waitMs,
      body: nothingRead,
    })
  }

  #waitMs(request: FastifyRequest): number | null {
    const waitS = preferredWait(request.headers.prefer)
    if (waitS === null) return null
    const waitMs = Math.min(waitS * 1000, this.#context.limits.maxHoldMs)
    return holdWithin(waitMs, request.routeOptions.handlerTimeout)
  }

  /** Before any compression. */
  readonly #keepBody = async (request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> => {
    const wrapped = this.#wrapped.get(request)
    if (wrapped === undefined || !isPlainJson(reply, payload)) return payload
    wrapped.body = await this.#read(payload)
    return wrapped.body.payload
  }

  /** The body as the route's hooks left it; if one of them has encoded it, or removed it for `HEAD`, as it was before. */
  async #finalBody({ body }: Wrapped, reply: FastifyReply, payload: unknown): Promise<ReadBody> {
    const isTakenOff = reply.request.method === 'HEAD' && payload === null
    if (isTakenOff || body.payload === payload || !isPlainJson(reply, payload)) return { text: body.text, payload }
    return this.#read(payload)
  }

  #read(payload: unknown): Promise<ReadBody> {
    const { limits, runner } = this.#context
    return readBody(payload, { maxBytes: limits.maxEventBytes, maxMs: runner.timeoutMs })
  }

  /** What a 2xx answer proves about the client, and about the route. */
  #learn({ topic, identity, seq }: Wrapped, request: FastifyRequest, credentials: string): void {
    const { address } = topic
    const { access, diagnosis, service } = this.#context
    const as =
      credentials === serviceName
        ? { headers: { ...service.headers, ...address.headers }, ip: service.ip ?? identity.ip }
        : identity
    void diagnosis.compare(address, credentials, as, request)
    // A client that is anonymous here may be known to the handler, by a credential unknown to us: the answer proves nothing for others.
    if (address.definition.authorize !== null || identity.principal === null) return
    access.granted(address, identity, seq)
  }

  #after(definition: TopicDefinition) {
    return async (request: FastifyRequest, reply: FastifyReply, given: unknown): Promise<unknown> => {
      const wrapped = this.#wrapped.get(request)
      if (wrapped === undefined) {
        // A hook of the application answered before the handler, and before the topic was determined.
        if (!this.#handled.has(request) && request.crossfade === null)
          this.#skip(definition, unfit(reply, '') ?? { skipped: 'a hook answered before the handler' }, reply)
        return given
      }
      const { text: body, payload: sent } = await this.#finalBody(wrapped, reply, given)
      // No content is the value `null`, on every transport.
      const text = isEmptyAnswer(reply) ? 'null' : body
      const payload = isResponse(sent) ? unwrapResponse(reply, sent) : sent
      const skipped = unfit(reply, text) ?? this.#private(definition, reply)
      if (skipped === null) return this.#decorate(wrapped, text, request, reply, payload)
      this.#context.hub.discard(wrapped.topic)
      this.#skip(definition, skipped, reply)
      return payload
    }
  }

  #private(definition: TopicDefinition, reply: FastifyReply): Skipped | null {
    if (!isSharedByAll(definition)) return null
    const reason = privateReason(reply.getHeaders())
    if (reason === null) return null
    this.warnPrivate(definition, reason)
    return { skipped: `the route is public, and its answer looks private: ${reason}` }
  }

  /** Why push is not promised although the answer belongs to a topic. */
  #withheld({ address }: LiveTopic, credentials: string): Skipped | null {
    const { diagnosis, hub } = this.#context
    if (diagnosis.isWithheld(address, credentials)) return { skipped: 'the route refuses the server, which runs it' }
    return hub.isUnshared(address) ? { skipped: 'its clients got different answers, so it is no longer shared' } : null
  }

  #decorate(
    wrapped: Wrapped,
    body: string | null,
    request: FastifyRequest,
    reply: FastifyReply,
    payload: unknown,
  ): unknown {
    const { topic } = wrapped
    const { definition } = topic.address
    // The application itself may have found that the client already has this answer.
    const isUnchanged = reply.statusCode === 304
    const credentials = isSharedByAll(definition) ? serviceName : wrapped.identity.key
    if (!isUnchanged) this.#learn(wrapped, request, credentials)
    const withheld = this.#withheld(topic, credentials)
    const hashes = withheld !== null || body === null ? null : hashesOfBody(topic, wrapped.cursor, body)
    if (withheld !== null || (body !== null && hashes === null)) {
      this.#skip(definition, withheld ?? { skipped: 'the body is not JSON' }, reply)
      return payload
    }
    const hash = hashes === null ? hashOfTag(topic, reply.getHeader('etag')) : hashes.sent
    advertise(this.#context, reply, topic, { cursor: wrapped.cursor, hash, principal: wrapped.identity.principal })
    if (wrapped.waitMs !== null) sayHeld(reply, wrapped.waitMs)
    const isFinal = isUnchanged || isEmptyAnswer(reply) || hashes === null
    return isFinal ? payload : conditional(request, reply, hashes.tag, payload)
  }
}

/** Why an answer cannot be a topic's value or page (R10). */
function unfit(reply: FastifyReply, body: string | null): Skipped | null {
  if (reply.statusCode === 304 || isEmptyAnswer(reply)) return null
  if (reply.statusCode < 200 || reply.statusCode > 299) return { skipped: `status ${reply.statusCode}` }
  const contentType = reply.getHeader('content-type')
  if (!isJson(contentType)) return { skipped: `not JSON: ${String(contentType ?? 'no Content-Type')}` }
  return body === null ? { skipped: 'the body is not text, encoded, or too large or slow to be read' } : null
}

/** 204 and 205 have no body. */
function isEmptyAnswer({ statusCode }: FastifyReply): boolean {
  return statusCode === 204 || statusCode === 205
}

/** Whether a body is, as it stands, the JSON of a 2xx answer. */
function isPlainJson(reply: FastifyReply, payload: unknown): boolean {
  if (reply.getHeader('content-encoding') !== undefined) return false
  const [status, own] = isResponse(payload)
    ? [payload.status, payload.headers.get('content-type')]
    : [reply.statusCode, null]
  return status >= 200 && status <= 299 && isJson(own ?? reply.getHeader('content-type'))
}

/** The service loads it for everybody. */
function isSharedByAll({ audience, kind }: TopicDefinition): boolean {
  return audience === 'public' && kind === 'value'
}

function listOf<T>(hooks: T | T[] | undefined): T[] {
  if (hooks === undefined) return []
  return Array.isArray(hooks) ? hooks : [hooks]
}
