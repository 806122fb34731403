import { paths } from '@crossfade/protocol'
import type { FastifyInstance } from 'fastify'
import type { FeedLifecycle } from '../feed/feed-lifecycle.ts'
import type { TransportContext } from './context.ts'
import type { OperatorCheck } from './operator.ts'

/** How many failing topics are listed. */
const maxFailing = 100

/** What `/health` reads from. */
export interface HealthSources {
  /** `null`: there is no feed. */
  readonly feed: FeedLifecycle | null
  readonly isOperator: OperatorCheck | undefined
}

/**
 * `GET {base}/health`: how many connections and topics there are, and the health of the feed (PROTOCOL §9).
 *
 * It is always 200: a process without its feed serves polls, and must stay in rotation. Errors, and which topics cannot be loaded, are for
 * the operator alone.
 */
export function registerHealth(
  scope: FastifyInstance,
  { gate, connections, hub }: TransportContext,
  { feed, isOperator }: HealthSources,
): void {
  scope.get(paths.health, async (request, reply) => {
    const { lastError, failedStarts, ...health } = feed?.health() ?? {}
    const isForOperator = (await isOperator?.(request)) === true
    const details = isForOperator ? { lastError, failedStarts } : {}
    return reply.header('cache-control', 'no-store').send({
      ok: gate.state !== 'off' && feed?.isWell !== false,
      push: gate.state,
      connections: connections.size,
      topics: hub.size,
      feed: feed === null ? null : { ...health, ...details },
      ...(isForOperator ? { failing: hub.failing(maxFailing) } : {}),
    })
  })
}
