import { closeCodes } from '@crossfade/protocol'
import websocket from '@fastify/websocket'
import type { FastifyInstance, FastifyRequest, onRequestAsyncHookHandler, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { memoryBroker } from './brokers/memory-broker.ts'
import { ConnectionCounter } from './connections/connection-counter.ts'
import { FlushCycle } from './connections/flush-cycle.ts'
import { Heartbeats } from './connections/heartbeats.ts'
import { OpenConnections } from './connections/open-connections.ts'
import { RequestRate } from './connections/request-rate.ts'
import { TopicCounter } from './connections/topic-counter.ts'
import { UpgradedSockets } from './connections/upgraded-sockets.ts'
import { crossfadeOf, type Crossfade } from './crossfade.ts'
import { startFeed } from './feed.ts'
import { Access } from './identity/access.ts'
import { Authenticator } from './identity/authenticator.ts'
import { originRule } from './identity/origin.ts'
import { identityOf } from './identity/principal.ts'
import { limitsOf } from './limits.ts'
import { resolveOptions, type CrossfadeOptions, type ResolvedOptions } from './options.ts'
import { RolloutStore } from './rollout/rollout.ts'
import { stageMessage } from './rollout/stage-messages.ts'
import { RpcRegistry } from './rpc/rpc-registry.ts'
import { ChangeRouter } from './topics/change-router.ts'
import { urlOfTopic, type RouteOptions as TopicRouteOptions } from './topics/definition.ts'
import { EndpointRunner } from './topics/endpoint-runner.ts'
import { Hub } from './topics/hub.ts'
import { TopicRegistry } from './topics/registry.ts'
import type { TransportContext } from './transports/context.ts'
import { EndpointWrapper } from './transports/endpoint.ts'
import { registerHealth } from './transports/health.ts'
import { requireOrigin } from './transports/guard.ts'
import { registerOperator } from './transports/operator.ts'
import { registerPoll } from './transports/poll.ts'
import { registerProbe } from './transports/probe.ts'
import { sendProblem } from './transports/problem.ts'
import { registerRpc } from './transports/rpc.ts'
import { registerSse } from './transports/sse.ts'
import { chooseSubprotocol, registerWebSocket } from './transports/websocket.ts'

declare module 'fastify' {
  interface FastifyInstance {
    crossfade: Crossfade
  }
  interface FastifyContextConfig {
    /** Makes the route's answer a topic. */
    crossfade?: TopicRouteOptions
  }
}

/** A stage change spreads the movement of this many clients over a second (PROTOCOL §5, `stage`). */
const movesPerSecond = 500
const maxSpreadMs = 20_000
const drainMs = 5_000

async function plugin(app: FastifyInstance, given: CrossfadeOptions): Promise<void> {
  const options = resolveOptions(given)
  const registry = new TopicRegistry()
  const { context, wrapper } = build(app, options, registry)
  const { hub, access, rpc, rollout, limits } = context
  const router = new ChangeRouter(hub, registry, limits.maxEventBytes, context.session.report)

  app.decorate('crossfade', crossfadeOf({ hub, registry, rollout, rpc, access, maxEventBytes: limits.maxEventBytes }))
  if (!app.hasDecorator('websocketServer')) {
    await app.register(websocket, websocketOptions(limits.maxMessageBytes))
    app.addHook('onRoute', refuseUpgrade)
  }
  const upgraded = new UpgradedSockets()
  upgraded.install(app)
  wrapper.install(app)
  await app.register((scope) => mount(scope, context, options), { prefix: options.base })

  const { connections } = context
  rollout.onChange((feature) => connections.announce(stageMessage(feature, spread(connections.size))))
  if (options.feed) startFeed(app, options.feed, router)
  app.addHook('preClose', () => drain(app, context, upgraded))
  app.addHook('onClose', () => dispose(context, options))
}

function build(
  app: FastifyInstance,
  options: ResolvedOptions,
  registry: TopicRegistry,
): { context: TransportContext; wrapper: EndpointWrapper } {
  const limits = limitsOf(options.limits)
  const vary = (): string[] => [...new Set(registry.all().flatMap((definition) => definition.vary))]
  const service = identityOf(null, options.service?.headers ?? {}, Object.keys(options.service?.headers ?? {}))
  const runner = new EndpointRunner(app, options.loadTimeoutMs)
  const access = new Access(runner, { grantMs: options.grantMs, recheckMs: options.reauthorizeMs })
  const report = (error: unknown, context: string): void => app.log.error(error, `crossfade: ${context} failed`)
  const cycle = new FlushCycle(report)
  const hub = new Hub(
    registry,
    {
      broker:
        options.broker ??
        memoryBroker({
          historyCount: limits.historyCount,
          historyBytes: limits.historyBytes,
          historyMs: limits.historyMs,
        }),
      cycle,
      run: (place, identity) => runner.run(urlOfTopic(place.definition, place.params, place.name), identity.headers),
      service,
      moment: () => access.moment(),
      granted: (place, identity, since) => {
        if (place.definition.authorize === null) access.granted(place, identity, since)
      },
      refused: (place, identity) => access.refused(place, identity),
      suspicious: (place, reason) => wrapper.warnPrivate(place.definition, reason),
    },
    options.warmMs,
    limits.maxWarmTopics,
  )
  const context: TransportContext = {
    base: options.base,
    hub,
    access,
    runner,
    authenticator: new Authenticator(options.authenticate, vary),
    originAllowed: originRule(options.allowedOrigins),
    session: { hub, access, topics: new TopicCounter(limits.maxTopicsPerPrincipal), report, service },
    cycle,
    heartbeats: new Heartbeats(limits.heartbeatMs),
    counter: new ConnectionCounter(limits.maxConnectionsPerPrincipal, limits.maxConnectionsPerAddress),
    rate: new RequestRate(limits.messagesPerSecond, limits.messageBurst),
    connections: new OpenConnections(),
    rollout: new RolloutStore(options.rollout),
    rpc: new RpcRegistry(report),
    limits,
    service,
    rotateMs: options.rotateMs,
    expiryGraceMs: options.expiryGraceMs,
    warn: (message) => app.log.warn(message),
  }
  const wrapper = new EndpointWrapper(context, registry)
  return { context, wrapper }
}

/** The library's own endings would come before our `bye` and replace our close codes. */
function websocketOptions(maxPayload: number): websocket.WebsocketPluginOptions {
  return {
    options: { maxPayload, handleProtocols: chooseSubprotocol, perMessageDeflate: false },
    preClose: (done) => done(),
    errorHandler: (error, _socket, request) => request.log.info(error, 'crossfade: a WebSocket failed'),
  }
}

/** The library would accept an upgrade on any route, and close it then: where there is no WebSocket there is nothing. */
function refuseUpgrade(route: RouteOptions): void {
  if (route.websocket || route.wsHandler) return
  const refuse: onRequestAsyncHookHandler = async (request, reply) => {
    if (request.ws) reply.callNotFound()
    return request.ws ? reply : undefined
  }
  route.onRequest = [refuse, ...[route.onRequest ?? []].flat()]
}

async function mount(scope: FastifyInstance, context: TransportContext, options: ResolvedOptions): Promise<void> {
  scope.setErrorHandler(sendProblem)
  scope.addHook('onRequest', async (request) => {
    requireOrigin(context, request)
    limitBodyTime(request, context.limits.maxHoldMs)
  })
  // Whatever else the application can read, here it is JSON (R51).
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('application/json', { parseAs: 'string' }, scope.getDefaultJsonParser('error', 'error'))
  scope.addHook('onRoute', (route) => {
    route.bodyLimit = context.limits.maxBodyBytes
  })
  registerProbe(scope, context)
  registerHealth(scope, context, options.feed)
  registerPoll(scope, context)
  registerSse(scope, context)
  registerRpc(scope, context)
  registerOperator(scope, context, options.operator)
  registerWebSocket(scope, context)
}

/** A body that comes byte by byte keeps no connection for ever (D8): it has as long as a poll is held. */
function limitBodyTime({ raw }: FastifyRequest, ms: number): void {
  if (raw.method === 'GET' || raw.complete) return
  const timer = setTimeout(() => raw.destroy(), ms)
  timer.unref()
  for (const event of ['end', 'close']) raw.once(event, () => clearTimeout(timer))
}

function spread(connections: number): number {
  return Math.min(maxSpreadMs, Math.floor((connections / movesPerSecond) * 1000))
}

/** Says `bye` to every connection and gives them a moment to read it; what does not go is closed. */
async function drain(app: FastifyInstance, context: TransportContext, upgraded: UpgradedSockets): Promise<void> {
  const { connections } = context
  connections.endAll(
    closeCodes.goingAway,
    'The server restarts. Come back with your cursors.',
    spread(connections.size),
  )
  const until = performance.now() + drainMs
  while (connections.size > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 20))
  upgraded.destroyAll()
  setTimeout(() => app.server.closeAllConnections(), drainMs).unref()
}

async function dispose(context: TransportContext, options: ResolvedOptions): Promise<void> {
  context.heartbeats.close()
  context.access.close()
  context.rpc.close()
  context.rate.close()
  context.hub.close()
  if (!options.broker) await context.hub.broker.close?.()
}

/** The Crossfade plugin for Fastify 5. Register it before the routes that it wraps. */
const crossfade: typeof plugin = fp(plugin, { fastify: '5.x', name: '@crossfade/server' })

export { crossfade }
