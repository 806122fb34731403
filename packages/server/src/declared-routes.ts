import { subscribe } from 'node:diagnostics_channel'
import type { FastifyInstance, onRouteHookHandler } from 'fastify'

type Route = Parameters<onRouteHookHandler>[0]

const declared = Symbol('crossfade.declaredRoutes')
/** Child instances of Fastify inherit from the root, and so find its list. */
type Listed = FastifyInstance & { [declared]?: Route[] }

const heard = new WeakSet<object>()

/**
 * A plugin's `onRoute` hook hears of no route that was declared before the plugin had loaded, and Fastify lists none. So a list is kept for
 * each instance from its first moment, which Fastify publishes: routes with `config.crossfade`, and nothing of any other.
 */
subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: Listed }
  const routes: Route[] = []
  fastify[declared] = routes
  fastify.addHook('onRoute', (route) => {
    if (route.config?.crossfade !== undefined) routes.push(route)
  })
})

/** Notes that a plugin has heard of a route, which it wraps or refuses. */
export function noteHeard(route: Route): void {
  heard.add(route)
  const block: unknown = route.config?.crossfade
  if (typeof block === 'object' && block !== null) heard.add(block)
}

/** Whether a plugin has heard of a route with this `config.crossfade`. */
export function isHeardOf(block: object): boolean {
  return heard.has(block)
}

/**
 * The routes with `config.crossfade` that no plugin has heard of, such as `GET /api/orders`.
 *
 * @returns `null` when the instance is older than this module, as with `Fastify()` before a dynamic `import()`: then nobody knows.
 */
export function unheardRoutes(app: FastifyInstance): string[] | null {
  const routes = (app as Listed)[declared]
  if (routes === undefined) return null
  const names = routes.filter((route) => !heard.has(route) && route.method !== 'HEAD')
  return [...new Set(names.map(({ method, url }) => `${String(method)} ${url}`))]
}
