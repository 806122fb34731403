import { assertTopic, parsePollRequest, paths } from '@crossfade/protocol'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { TransportContext } from './context.ts'
import { admit, requireFewTopics, acquireConnection } from './guard.ts'
import { lastEventId } from './last-event-id.ts'
import { requireTopic } from './require-topic.ts'
import { openSseStream } from './sse-stream.ts'

/** Streams of many topics (`POST`) and of one (`GET`, for a browser's own EventSource) (PROTOCOL §4). */
export function registerSse(scope: FastifyInstance, context: TransportContext): void {
  scope.post(paths.sse, async (request, reply) => {
    const identity = await admit(context, request)
    const wanted = parsePollRequest(request.body)
    requireFewTopics(context, wanted)
    const release = acquireConnection(context, request, identity)
    const session = await openSseStream(context, request, reply, {
      identity,
      withIds: false,
      proof: wantsProof(request),
      stagesSince: wanted.stagesSince,
      release,
    })
    await Promise.all(Object.entries(wanted.topics).map(([topic, from]) => session.subscribe({ topic, ...from })))
  })

  scope.get(paths.sse, async (request, reply) => {
    const identity = await admit(context, request)
    const topic = assertTopic((request.query as { topic?: unknown }).topic)
    await requireTopic(context, topic, identity)
    const release = acquireConnection(context, request, identity)
    const session = await openSseStream(context, request, reply, {
      identity,
      withIds: true,
      proof: wantsProof(request),
      release,
    })
    await session.subscribe({ topic, cursor: lastEventId(request) })
  })
}

function wantsProof(request: FastifyRequest): boolean {
  return (request.query as { proof?: unknown }).proof === '1'
}
