import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ResolvedOptions } from '../options.ts'
import type { TransportContext } from './context.ts'
import { requireOrigin } from './guard.ts'
import { registerHealth } from './health.ts'
import { registerOperator } from './operator.ts'
import { registerPoll } from './poll.ts'
import { registerProbe } from './probe.ts'
import { sendProblem } from './problem.ts'
import { registerRpc } from './rpc.ts'
import { registerSse } from './sse.ts'
import { registerWebSocket } from './websocket.ts'

/** Mounts everything under `{base}`: its own scope, with its own errors and its own way to read bodies. */
export async function mount(
  scope: FastifyInstance,
  context: TransportContext,
  options: ResolvedOptions,
): Promise<void> {
  scope.setErrorHandler(sendProblem)
  scope.addHook('onRequest', async (request) => {
    requireOrigin(context, request)
    limitBodyTime(request, context.limits.maxHoldMs)
  })
  // Whatever else the application can read, here it is JSON (R51).
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('application/json', { parseAs: 'string' }, scope.getDefaultJsonParser('error', 'error'))
  scope.addHook('onRoute', (route) => {
    route.bodyLimit = context.limits.maxBodyBytes
  })
  registerProbe(scope, context)
  registerHealth(scope, context, options.feed)
  registerPoll(scope, context)
  registerSse(scope, context)
  registerRpc(scope, context)
  registerOperator(scope, context, options.operator)
  registerWebSocket(scope, context)
}

/** A body that comes byte by byte keeps no connection for ever (D8): it has as long as a poll is held. */
function limitBodyTime({ raw }: FastifyRequest, ms: number): void {
  if (raw.method === 'GET' || raw.complete) return
  const timer = setTimeout(() => raw.destroy(), ms)
  timer.unref()
  for (const event of ['end', 'close']) raw.once(event, () => clearTimeout(timer))
}
