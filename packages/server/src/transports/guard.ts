import { CrossfadeError, headerName, type PollRequest } from '@crossfade/protocol'
import type { FastifyRequest } from 'fastify'
import { addressOf } from '../connections/client-address.ts'
import type { Identity } from '../identity/principal.ts'
import type { TransportContext } from './context.ts'
import { identify } from './identify.ts'

/**
 * Refuses a browser of a foreign origin, before any state is made (R51).
 *
 * @throws CrossfadeError `forbidden_origin`
 */
export function requireOrigin(context: TransportContext, request: FastifyRequest): void {
  const { origin } = request.headers
  if (context.originAllowed(origin, request.host)) return
  throw new CrossfadeError(
    'forbidden_origin',
    `The origin ${String(origin)} may not use ${headerName}. Add it to allowedOrigins if it is yours.`,
  )
}

/**
 * Identifies the client of a request to `{base}/*` and counts the request against its rate.
 *
 * @throws CrossfadeError `unauthenticated`, `too_fast`
 */
export async function admit(context: TransportContext, request: FastifyRequest): Promise<Identity> {
  const identity = await identify(context, request)
  context.rate.acquire(identity)
  return identity
}

/** A request that names more than this many times the allowed topics is refused as a whole; otherwise only the surplus is, topic by topic. */
const surplusFactor = 4

/**
 * Refuses a poll or stream that names absurdly many topics, before any of them is processed.
 *
 * @throws CrossfadeError `too_many_topics`
 */
export function requireFewTopics(context: TransportContext, { topics }: PollRequest): void {
  const { maxTopicsPerConnection } = context.limits
  const count = Object.keys(topics).length
  if (count <= maxTopicsPerConnection * surplusFactor) return
  throw new CrossfadeError(
    'too_many_topics',
    `The request names ${count} topics; ${maxTopicsPerConnection} are allowed. Send several requests.`,
  )
}

/**
 * Counts a held request or a stream against the connection limits.
 *
 * @returns releases it.
 * @throws CrossfadeError `too_fast`
 */
export function acquireConnection(context: TransportContext, request: FastifyRequest, identity: Identity): () => void {
  context.proxyDetector.examine(request, context.connections.size)
  return context.counter.acquire(identity, addressOf(request))
}
