import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { FeedLifecycle } from '../feed/feed-lifecycle.ts'
import type { OpenAnswers } from './open-answers.ts'
import type { TransportContext } from './context.ts'
import { requireOrigin } from './guard.ts'
import { registerHealth } from './health.ts'
import { registerOperator, type OperatorCheck } from './operator.ts'
import { registerPoll } from './poll.ts'
import { registerProbe } from './probe.ts'
import { sendProblem } from './problem.ts'
import { CrossfadeError } from '@crossfade/protocol'
import { registerRpc } from './rpc.ts'
import { registerSse } from './sse.ts'
import type { Upgrades } from './upgrades.ts'
import { registerWebSocket } from './websocket.ts'

/** What is mounted besides the transports. */
export interface MountOptions {
  /** Who may see and change rollouts; absent: nobody. */
  readonly operator?: OperatorCheck
  /** `null`: there is no feed. */
  readonly feed: FeedLifecycle | null
  readonly upgrades: Upgrades
  readonly answers: OpenAnswers
}

/** Mounts everything under `{base}`: its own scope, with its own errors and its own body parser. */
export async function mount(
  scope: FastifyInstance,
  context: TransportContext,
  { feed, operator, upgrades, answers }: MountOptions,
): Promise<void> {
  await upgrades.register(scope, context.limits.maxMessageBytes)
  scope.setErrorHandler(sendProblem)
  scope.setNotFoundHandler((request, reply) => sendProblem(nothingHere(request.url), request, reply))
  scope.addHook('onRequest', async (request, reply) => {
    answers.add(reply.raw)
    requireOrigin(context, request)
    requireOpen(context)
    limitBodyTime(request, context.limits.maxHoldMs)
  })
  // Whatever else the application can parse, here only JSON is accepted (R51).
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('application/json', { parseAs: 'string' }, scope.getDefaultJsonParser('error', 'error'))
  scope.addHook('onRoute', (route) => {
    route.bodyLimit = context.limits.maxBodyBytes
    // Not part of the application's own API, whose description @fastify/swagger makes (R10).
    const hidden: { hide: boolean } = { hide: true }
    route.schema = { ...route.schema, ...hidden }
  })
  registerProbe(scope, context)
  registerHealth(scope, context, { feed, isOperator: operator })
  registerPoll(scope, context)
  registerSse(scope, context)
  registerRpc(scope, context)
  registerOperator(scope, context, operator)
  registerWebSocket(scope, context)
}

function requireOpen({ connections }: TransportContext): void {
  if (connections.isDraining)
    throw new CrossfadeError('overloaded', 'The server is restarting. Reconnect with your cursors.')
}

function nothingHere(url: string): CrossfadeError {
  return new CrossfadeError('unknown_method', `There is nothing at ${url}.`)
}

/** A body that arrives byte by byte must not keep a connection open without end: it has as long as a poll may be held. */
function limitBodyTime({ raw }: FastifyRequest, ms: number): void {
  if (raw.method === 'GET' || raw.complete) return
  const timer = setTimeout(() => raw.destroy(), ms)
  timer.unref()
  for (const event of ['end', 'close']) raw.once(event, () => clearTimeout(timer))
}
