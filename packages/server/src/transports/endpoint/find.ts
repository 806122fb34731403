import { CrossfadeError } from '@crossfade/protocol'
import type { FastifyRequest } from 'fastify'
import { addressOf } from '../../connections/client-address.ts'
import type { TopicDefinition } from '../../endpoints/definition.ts'
import { UnusableGroup } from '../../endpoints/group.ts'
import type { TopicRegistry } from '../../endpoints/registry.ts'
import { topicOfRequest } from '../../endpoints/request-topic.ts'
import type { Skipped, Skips } from '../../endpoints/skips.ts'
import { topicKey, varyHeaders, type TopicAddress } from '../../endpoints/topic-address.ts'
import type { Authenticator } from '../../identity/authenticator.ts'
import type { Identity } from '../../identity/principal.ts'
import { acceptsEventStream, preferredWait } from './preferences.ts'

/** The topic of a request, and the client. */
export interface FoundTopic {
  readonly address: TopicAddress
  readonly identity: Identity
}

/** Where a request is looked up. */
export interface Lookup {
  readonly registry: TopicRegistry
  readonly authenticator: Authenticator
  readonly skips: Skips
}

/**
 * Finds the topic that a request to a wrapped route asks for, or why its answer belongs to no topic: then it stays as it was (R10).
 *
 * @throws CrossfadeError `unauthenticated` when a request with bad credentials asks for a stream or a held answer.
 */
export async function findTopic(
  definition: TopicDefinition,
  request: FastifyRequest,
  { registry, authenticator, skips }: Lookup,
): Promise<FoundTopic | Skipped> {
  const topic = topicOfRequest(definition, request)
  if ('skipped' in topic) return topic
  const { name, foreign } = topic
  if (foreign !== null)
    skips.mistake(definition, `params gives "${foreign}", which the topic "${definition.pattern.text}" does not have.`)
  const resolved = registry.resolve(name)
  // A name that is another route's topic ("orders/late" of "orders/:id") is answered by that route.
  if (resolved?.definition !== definition) {
    const owner = resolved?.definition.url ?? resolved?.definition.pattern.text ?? 'no route'
    return { skipped: `the name ${JSON.stringify(name)} is a topic of ${owner}` }
  }
  const identity = await identityFor(request, authenticator)
  if ('skipped' in identity) return identity
  try {
    const key = topicKey(definition, name, identity)
    if (key === null) return { skipped: 'nobody is logged in, and the answer is not public' }
    return { address: { ...resolved, name, key, headers: varyHeaders(definition, identity) }, identity }
  } catch (error) {
    if (!(error instanceof UnusableGroup)) throw error
    return { skipped: 'the group of this principal is unusable', detail: error.detail, isMistake: true }
  }
}

async function identityFor(request: FastifyRequest, authenticator: Authenticator): Promise<Identity | Skipped> {
  try {
    return await authenticator.identify(request.headers, addressOf(request))
  } catch (error) {
    const { cause, message } = error as Error
    const detail = cause instanceof Error ? cause.message : message
    if (!(error instanceof CrossfadeError) || error.code !== 'unauthenticated')
      return { skipped: 'authenticate gave an unusable principal', detail, isMistake: true }
    // A bad token is told to a client that wants more than the endpoint's own answer; a plain request is judged by the endpoint (R50).
    if (wantsMore(request)) throw error
    // Not a refusal of the token, but a failure: the store in which it looks up the token may be down.
    return { skipped: 'authenticate threw', detail, ...(cause === undefined ? {} : { isUncertain: true }) }
  }
}

/** A stream, or an answer that is held. */
function wantsMore({ method, headers }: FastifyRequest): boolean {
  return method === 'GET' && (acceptsEventStream(headers.accept) || preferredWait(headers.prefer) !== null)
}
