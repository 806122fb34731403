import { CrossfadeError, paths } from '@crossfade/protocol'
import type { FastifyInstance } from 'fastify'
import type { TransportContext } from './context.ts'
import { admit } from './guard.ts'

/** `POST {base}/rpc/<method>` with `Idempotency-Key`: a `request` over plain HTTP (R34). */
export function registerRpc(scope: FastifyInstance, context: TransportContext): void {
  scope.post(`${paths.rpc}/:method`, async (request, reply) => {
    const identity = await admit(context, request)
    const id = request.headers['idempotency-key']
    if (typeof id !== 'string' || id.length < 22 || id.length > 128) {
      throw new CrossfadeError(
        'malformed',
        'A call needs an Idempotency-Key header with at least 128 random bits (22 to 128 characters).',
      )
    }
    const { method } = request.params as { method: string }
    const outcome = await context.rpc.call(identity, { id, method, params: request.body ?? null })
    if ('error' in outcome) throw new CrossfadeError(outcome.error.code, outcome.error.message)
    return reply.header('cache-control', 'no-store').send(outcome)
  })
}
