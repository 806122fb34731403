import { CrossfadeError, paths } from '@crossfade/protocol'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { RolloutSetting } from '../rollout/rollout.ts'
import type { TransportContext } from './context.ts'

/** Whether a request comes from an operator, who may see and change rollouts. */
export type OperatorCheck = (request: FastifyRequest) => boolean | Promise<boolean>

/** `GET` and `PUT {base}/features`: the operator's way to see and change rollouts (PROTOCOL §9). */
export function registerOperator(
  scope: FastifyInstance,
  context: TransportContext,
  isOperator: OperatorCheck | undefined,
): void {
  const requireOperator = async (request: FastifyRequest): Promise<void> => {
    if (isOperator !== undefined && (await isOperator(request))) return
    const detail =
      isOperator === undefined
        ? 'No operator is configured: give the plugin operator: (request) => boolean.'
        : 'Only the operator may do this.'
    throw new CrossfadeError('forbidden', detail)
  }
  scope.get(paths.features, { preValidation: requireOperator }, async (_request, reply) =>
    reply.header('cache-control', 'no-store').send({ features: context.rollout.configured() }),
  )
  scope.put(`${paths.features}/:feature`, { preValidation: requireOperator }, async (request, reply) => {
    const { feature } = request.params as { feature: string }
    if (typeof request.body !== 'object' || request.body === null || Array.isArray(request.body)) {
      throw new CrossfadeError(
        'malformed',
        'The body must be an object like {"stage": "push", "percent": 5, "rest": "off"}.',
      )
    }
    return reply.header('cache-control', 'no-store').send(context.rollout.set(feature, request.body as RolloutSetting))
  })
}
