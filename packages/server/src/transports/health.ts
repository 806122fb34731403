import type { ChangeFeed } from '@crossfade/changefeed'
import { paths } from '@crossfade/protocol'
import type { FastifyInstance } from 'fastify'
import type { TransportContext } from './context.ts'

/** `GET {base}/health`: how many connections and topics there are, and how the feed does (PROTOCOL §9). */
export function registerHealth(scope: FastifyInstance, context: TransportContext, feed: ChangeFeed | undefined): void {
  scope.get(paths.health, async (_request, reply) => {
    const status = feed?.status?.() ?? null
    const ok = status === null || status.state === 'streaming'
    return reply
      .code(ok ? 200 : 503)
      .header('cache-control', 'no-store')
      .send({ ok, connections: context.connections.size, topics: context.hub.size, feed: status })
  })
}
