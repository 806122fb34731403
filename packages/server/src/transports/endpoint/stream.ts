import type { FastifyReply, FastifyRequest } from 'fastify'
import type { TransportContext } from '../context.ts'
import { acquireConnection, requireOrigin } from '../guard.ts'
import { lastEventId } from '../last-event-id.ts'
import { openSseStream } from '../sse-stream.ts'
import type { FoundTopic } from './find.ts'

/**
 * Answers a wrapped endpoint with a stream of its one topic (R13).
 *
 * @returns the reply, or nothing when the endpoint refuses this client: then its own answer says so.
 * @throws CrossfadeError `forbidden_origin`, `too_fast`
 */
export async function streamTopic(
  context: TransportContext,
  { address, identity }: FoundTopic,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply | void> {
  requireOrigin(context, request)
  try {
    await context.access.check(address, identity)
  } catch {
    return
  }
  const release = acquireConnection(context, request, identity)
  const session = await openSseStream(context, request, reply, { identity, withIds: true, proof: false, release })
  await session.subscribe({ topic: address.name, cursor: lastEventId(request) })
  return reply
}
