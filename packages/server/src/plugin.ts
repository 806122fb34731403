import type { ChangeBatch } from '@crossfade/changefeed'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { assemble } from './assembly.ts'
import { crossfadeOf, type Crossfade } from './crossfade.ts'
import type { RouteOptions as TopicRouteOptions } from './endpoints/definition.ts'
import { decorateRequests } from './endpoints/run-kind.ts'
import { TopicRegistry } from './endpoints/registry.ts'
import type { FeedLog } from './feed/feed-failure-log.ts'
import { FeedLifecycle } from './feed/feed-lifecycle.ts'
import { followGate } from './follow-gate.ts'
import { warnOfUnheardCalls } from './feed/unheard-calls.ts'
import { watchedTables } from './feed/watched-tables.ts'
import type { CrossfadeOptions, ResolvedOptions } from './options.ts'
import { resolveOptions } from './resolve-options.ts'
import { spreadOf } from './rollout/spread.ts'
import { errorLog } from './server-log.ts'
import { stageMessage } from './rollout/stage-messages.ts'
import { dispose, drain } from './shutdown.ts'
import { installStartChecks } from './start-checks.ts'
import { fitTimeouts } from './timeouts.ts'
import { ChangeRouter } from './topics/change-router.ts'
import { isUnder } from './transports/base-path.ts'
import type { TransportContext } from './transports/context.ts'
import { explainClosing } from './transports/closing-answers.ts'
import { mount } from './transports/mount.ts'
import { OpenAnswers } from './transports/open-answers.ts'
import { Upgrades } from './transports/upgrades.ts'

declare module 'fastify' {
  interface FastifyInstance {
    crossfade: Crossfade
  }
  interface FastifyContextConfig {
    /** Makes the route's answer a topic. */
    crossfade?: TopicRouteOptions
  }
}

async function plugin(app: FastifyInstance, given: CrossfadeOptions): Promise<void> {
  const options = resolveOptions(given)
  const registry = new TopicRegistry()
  const { context, wrapper } = assemble(app, options, registry)
  const { hub, access, rpc, rollout, limits, connections, gate } = context
  const router = new ChangeRouter(hub, registry, limits.maxEventBytes, context.session.report)

  const feed = feedLifecycle(app, options, context, router)

  const saying =
    options.broker === undefined ? warnOfUnheardCalls(gate, (message) => app.log.warn(message)) : (): void => {}
  const { maxEventBytes } = limits
  app.decorate('crossfade', crossfadeOf({ hub, registry, rollout, rpc, access, maxEventBytes, saying }))
  decorateRequests(app, context.runner)
  const upgrades = new Upgrades(app.server, (url) => isUnder(context.base, url))
  const answers = new OpenAnswers()
  upgrades.install()
  wrapper.install(app)
  installStartChecks(app, registry, options)
  await app.register((scope) => mount(scope, context, { ...options, feed, upgrades, answers }), {
    prefix: options.base,
  })

  fitTimeouts(app, limits, context.heartbeats)
  // The server's own time-out may still change until then.
  app.addHook('onListen', async () => fitTimeouts(app, limits, context.heartbeats))
  rollout.onChange((feature) => {
    if (!gate.isSilent) connections.announce(stageMessage(feature, spreadOf(connections.size)))
  })
  followGate(context)
  app.addHook('onReady', async () => feed?.start(watchedTables(router.rules())))
  // A process that stands by takes over while the last clients leave.
  app.addHook('preClose', async () => {
    explainClosing(app.server, (url) => isUnder(context.base, url))
    await Promise.all([drain(context, { answers, upgrades }), feed?.stop()])
  })
  app.addHook('onClose', async () => {
    await feed?.stop()
    upgrades.close()
    await dispose(context, { ownsBroker: options.broker === undefined })
  })
}

function feedLifecycle(
  app: FastifyInstance,
  { feed, feedFailure }: ResolvedOptions,
  { gate }: TransportContext,
  router: ChangeRouter,
): FeedLifecycle | null {
  if (feed === undefined) return null
  const sink = (batch: ChangeBatch): Promise<void> => router.handle(batch)
  const pluginTimeoutMs = app.initialConfig.pluginTimeout ?? 10_000
  const log: FeedLog = {
    info: (message) => app.log.info(message),
    warn: (message) => app.log.warn(message),
    error: (details, message) => errorLog(app).error(details, message),
  }
  return new FeedLifecycle({ feed, gate, log, sink, failure: feedFailure, pluginTimeoutMs })
}

/** The Crossfade plugin for Fastify 5. Register it before the routes that it wraps. */
const crossfade: typeof plugin = fp(plugin, { fastify: '5.x', name: '@crossfade/server' })

export { crossfade }
