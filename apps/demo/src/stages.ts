import type { FastifyInstance } from 'fastify'

const stage = { type: 'string', enum: ['off', 'shadow', 'hint', 'push'] } as const

/**
 * Lets any visitor of the demo move the faders. A real product has operators for that: `PUT /crossfade/features/<feature>` with the
 * operator's token does the same.
 */
export function registerStages(app: FastifyInstance): void {
  app.get('/demo/stages', async () => ({ features: app.crossfade.rollout.all() }))
  app.post<{ Body: { feature: string; stage: 'off' | 'shadow' | 'hint' | 'push' } }>(
    '/demo/stages',
    {
      schema: {
        body: { type: 'object', required: ['feature', 'stage'], properties: { feature: { type: 'string' }, stage } },
      },
    },
    async (request, reply) => {
      const { feature } = request.body
      if (!app.crossfade.rollout.all().some((known) => known.feature === feature))
        return reply.code(404).send({ error: `There is no feature ${feature}.` })
      return app.crossfade.rollout.set(feature, { stage: request.body.stage, percent: 100, rest: 'off' })
    },
  )
}
