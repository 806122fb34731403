import type { FastifyInstance } from 'fastify'

/** Where errors go that no caller gets. */
export interface ErrorLog {
  error(details: unknown, message: string): void
}

/**
 * The errors of the application's log. `Fastify()` without `logger` throws away what it is told; then errors, which are rare and need somebody
 * to act, go to the console. A logger whose level is `silent` is obeyed.
 */
export function errorLog(app: FastifyInstance): ErrorLog {
  // Only the logger that is none has no level.
  if ((app.log.level as string | undefined) !== undefined) return app.log
  return {
    error: (details, message) => {
      console.error(message, details instanceof Error ? details.message : '')
    },
  }
}
