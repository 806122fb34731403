import { CrossfadeError } from '@crossfade/protocol'
import type { FastifyRequest } from 'fastify'
import { addressOf } from '../../connections/client-address.ts'
import type { TopicDefinition } from '../../endpoints/definition.ts'
import type { TopicRegistry } from '../../endpoints/registry.ts'
import { topicKey, topicOfRequest, varyHeaders, type TopicAddress } from '../../endpoints/topic-address.ts'
import type { Authenticator } from '../../identity/authenticator.ts'
import type { Identity } from '../../identity/principal.ts'
import { acceptsEventStream, preferredWait } from './preferences.ts'

/** The topic of a request, and who asks. */
export interface FoundTopic {
  readonly address: TopicAddress
  readonly identity: Identity
}

/**
 * Finds the topic that a request to a wrapped route asks for.
 *
 * @returns `null` when the answer is nobody's topic: then it stays as it was (R10).
 * @throws CrossfadeError `unauthenticated` when bad credentials ask for a stream or a held answer.
 */
export async function findTopic(
  definition: TopicDefinition,
  request: FastifyRequest,
  { registry, authenticator }: { readonly registry: TopicRegistry; readonly authenticator: Authenticator },
): Promise<FoundTopic | null> {
  try {
    const name = topicOfRequest(definition, request)
    if (name === null) return null
    const identity = await authenticator.identify(request.headers, addressOf(request))
    const key = topicKey(definition, name, identity)
    const resolved = registry.resolve(name)
    // A name that is another route's topic ("orders/late" of "orders/:id") is that route's to answer.
    if (key === null || resolved?.definition !== definition) return null
    return { address: { ...resolved, name, key, headers: varyHeaders(definition, identity) }, identity }
  } catch (error) {
    // A bad token is told to a client that wants more than the endpoint's own answer; a plain request is the endpoint's to judge (R50).
    if (error instanceof CrossfadeError && error.code === 'unauthenticated' && wantsMore(request)) throw error
    // No topic can be made of this request; the endpoint answers it as it always did.
    return null
  }
}

/** A stream, or an answer that is held. */
function wantsMore({ method, headers }: FastifyRequest): boolean {
  return method === 'GET' && (acceptsEventStream(headers.accept) || preferredWait(headers.prefer) !== null)
}
