import type { RouteOptions } from 'fastify'

/**
 * The headers that a run must carry to reach a route with `constraints`: its host and its version.
 *
 * A host given as a regular expression, or a custom constraint of the application, cannot be derived here: the route declares the
 * deciding header under `vary`, or the service sends it.
 */
export function runHeadersOf(constraints: RouteOptions['constraints']): Readonly<Record<string, string>> {
  const { host, version } = (constraints ?? {}) as { host?: unknown; version?: unknown }
  return {
    ...(typeof host === 'string' ? { host } : {}),
    ...(typeof version === 'string' ? { 'accept-version': version } : {}),
  }
}
