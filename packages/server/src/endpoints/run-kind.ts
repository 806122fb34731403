import type { FastifyInstance, FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * Why the server runs this route in process: `load` to have a topic's value, `check` to see whether a subscriber may still read it.
     * `null`: a client's own request. By it a rate limiter can let runs pass, and a session store can avoid prolonging a session.
     */
    readonly crossfade: RunKind | null
  }
}

/** Why the server runs a route in process. */
export type RunKind = 'load' | 'check'

/** Makes in-process runs recognisable to the application's hooks, also to those that were registered before the plugin. */
export function decorateRequests(
  app: FastifyInstance,
  runner: { kindOf(request: FastifyRequest): RunKind | null },
): void {
  app.decorateRequest('crossfade', {
    getter() {
      return runner.kindOf(this)
    },
  })
}
