import { CrossfadeError } from '@crossfade/protocol'
import type { FastifyInstance } from 'fastify'
import { suggestion } from './configuration/nearest.ts'
import { isHeardOf, unheardRoutes } from './declared-routes.ts'
import { paramsProblem } from './endpoints/params-names.ts'
import type { TopicRegistry } from './endpoints/registry.ts'
import { brokenRule, coarseRule } from './endpoints/rule-parameters.ts'
import type { CrossfadeOptions } from './options.ts'
import { errorLog } from './server-log.ts'

const missed =
  'was declared before the plugin had loaded, or outside of the context in which it is registered, and is not wrapped. Write "await app.register(crossfade, …)" before the routes, in their context or in one around it.'

/** Checks, when all routes are known, what no single route shows. Mistakes end the start; what may be intended is logged. */
export function installStartChecks(app: FastifyInstance, registry: TopicRegistry, options: CrossfadeOptions): void {
  app.addHook('onReady', async () => {
    requireWrapped(app)
    requireAuthenticate(registry, options)
    requireParams(registry)
    warnOfUnknownFeatures(app, registry, options)
    for (const { rules, pattern } of registry.all()) {
      for (const coarse of rules.map((rule) => coarseRule(rule, pattern)))
        if (coarse !== null) app.log.info(`crossfade: ${coarse}`)
    }
  })
  if (unheardRoutes(app) === null) tellAtFirstRequest(app)
}

function requireWrapped(app: FastifyInstance): void {
  const routes = unheardRoutes(app) ?? []
  if (routes.length === 0) return
  throw new CrossfadeError('invalid_options', `The config.crossfade of ${routes.join(', ')} ${missed}`)
}

/** Without `authenticate` there are no principals: such a route would never push, and nobody would know why. */
function requireAuthenticate(registry: TopicRegistry, { authenticate }: CrossfadeOptions): void {
  if (authenticate !== undefined) return
  const personal = registry.all().filter(({ kind, audience }) => kind === 'value' && audience !== 'public')
  if (personal.length === 0) return
  const routes = personal.map(
    ({ url, audience }) => `${url} (audience: ${typeof audience === 'object' ? 'group' : "'principal'"})`,
  )
  throw new CrossfadeError(
    'invalid_options',
    `The answers of ${routes.join(', ')} are not for everybody, but the plugin has no authenticate to identify clients. Give it authenticate: ({ headers }) => ({ id: … }), or give the route audience: 'public'. The default audience is 'principal'.`,
  )
}

/** With parameters that no topic has, or functions that always fail, no request or row ever leads to a topic. */
function requireParams(registry: TopicRegistry): void {
  const problems = registry.all().flatMap((definition) => {
    const { url, pattern, rules } = definition
    const where = url === null ? `The log "${pattern.text}"` : `The route ${url}`
    return [paramsProblem(definition), ...rules.map(brokenRule)]
      .filter((problem) => problem !== null)
      .map((problem) => `${where}: ${problem}`)
  })
  if (problems.length > 0) throw new CrossfadeError('invalid_options', problems.join('\n'))
}

/** One configuration may serve several processes, each with some of the features: this is not an error. */
function warnOfUnknownFeatures(
  app: FastifyInstance,
  registry: TopicRegistry,
  { rollout = {} }: CrossfadeOptions,
): void {
  const features = [...new Set(registry.all().map(({ feature }) => feature))]
  for (const name of Object.keys(rollout)) {
    if (features.includes(name)) continue
    app.log.warn(`crossfade: rollout names the feature "${name}", which no route has. ${suggestion(name, features)}`)
  }
}

/** Where routes that were declared too early cannot be listed, the first request to one of them reports it. */
function tellAtFirstRequest(app: FastifyInstance): void {
  const told = new Set<string>()
  app.addHook('onRequest', async ({ routeOptions }) => {
    const { config, method, url } = routeOptions
    const block = config.crossfade
    if (block === undefined || isHeardOf(block)) return
    const route = `${String(method)} ${url}`
    if (told.has(route)) return
    told.add(route)
    errorLog(app).error({}, `crossfade: The config.crossfade of ${route} ${missed}`)
  })
}
