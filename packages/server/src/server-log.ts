import type { FastifyInstance } from 'fastify'

/** Where errors go that reach no caller. */
export interface ErrorLog {
  error(details: unknown, message: string): void
}

/**
 * The errors of the application's log. `Fastify()` without `logger` discards log lines; then errors, which are rare and need somebody
 * to act, go to the console. A logger whose level is `silent` is respected.
 */
export function errorLog(app: FastifyInstance): ErrorLog {
  // Only the logger of an application without one has no level.
  if ((app.log.level as string | undefined) !== undefined) return app.log
  return {
    error: (details, message) => {
      console.error(message, details instanceof Error ? details.message : '')
    },
  }
}
