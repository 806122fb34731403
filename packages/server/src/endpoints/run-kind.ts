import type { FastifyInstance, FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * Why the server runs this route in process: `load` to have a topic's value, `check` to see whether a subscriber may still read it.
     * `null`: a client's own request. A rate limiter lets runs pass by it, and a session is not prolonged.
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
