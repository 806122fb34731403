import { subscribe } from 'node:diagnostics_channel'
import type { FastifyInstance, onRouteHookHandler } from 'fastify'

type Route = Parameters<onRouteHookHandler>[0]

const declared = Symbol('crossfade.declaredRoutes')
/** Child instances of Fastify inherit from the root, and so find its list. */
type Listed = FastifyInstance & { [declared]?: Route[] }

const heard = new WeakSet<object>()

/**
 * A plugin's `onRoute` hook is not called for routes that were declared before the plugin had loaded, and Fastify does not list routes. So a list is kept for
 * each instance from its creation on, which Fastify publishes: routes with `config.crossfade` alone.
 */
subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: Listed }
  const routes: Route[] = []
  fastify[declared] = routes
  fastify.addHook('onRoute', (route) => {
    if (route.config?.crossfade !== undefined) routes.push(route)
  })
})

/** Notes that a plugin has seen a route, which it wraps or refuses. */
export function noteHeard(route: Route): void {
  heard.add(route)
  const block: unknown = route.config?.crossfade
  if (typeof block === 'object' && block !== null) heard.add(block)
}

/** Whether a plugin has seen a route with this `config.crossfade`. */
export function isHeardOf(block: object): boolean {
  return heard.has(block)
}

/**
 * The routes with `config.crossfade` that no plugin has seen, such as `GET /api/orders`.
 *
 * @returns `null` when the instance is older than this module, as with `Fastify()` before a dynamic `import()`: then they are unknown.
 */
export function unheardRoutes(app: FastifyInstance): string[] | null {
  const routes = (app as Listed)[declared]
  if (routes === undefined) return null
  const names = routes.filter((route) => !heard.has(route) && route.method !== 'HEAD')
  return [...new Set(names.map(({ method, url }) => `${String(method)} ${url}`))]
}
