import type { FastifyInstance } from 'fastify'
import { Access } from './access/access.ts'
import { originRule } from './access/origin.ts'
import { memoryBroker } from './brokers/memory-broker.ts'
import { ConnectionCounter } from './connections/connection-counter.ts'
import { Heartbeats } from './connections/heartbeats.ts'
import { OpenConnections } from './connections/open-connections.ts'
import { ProxyWatch } from './connections/proxy-watch.ts'
import { RequestRate } from './connections/request-rate.ts'
import { TopicCounter } from './connections/topic-counter.ts'
import { FlushCycle } from './delivery/flush-cycle.ts'
import { EndpointRunner } from './endpoints/endpoint-runner.ts'
import type { TopicRegistry } from './endpoints/registry.ts'
import { urlOfTopic } from './endpoints/topic-address.ts'
import { Authenticator } from './identity/authenticator.ts'
import { identityOf } from './identity/principal.ts'
import { limitsOf } from './limits.ts'
import type { ResolvedOptions } from './options.ts'
import { RolloutStore } from './rollout/rollout.ts'
import { RpcRegistry } from './rpc/rpc-registry.ts'
import { Hub } from './topics/hub.ts'
import type { TransportContext } from './transports/context.ts'
import { EndpointWrapper } from './transports/endpoint/wrap.ts'

/** Makes the parts of the server and connects them. Nothing runs yet but timers. */
export function assemble(
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
      run: (address, identity) => runner.run(urlOfTopic(address), identity.headers),
      service,
      moment: () => access.moment(),
      granted: (address, identity, since) => {
        if (address.definition.authorize === null) access.granted(address, identity, since)
      },
      refused: (address, identity) => access.refused(address, identity),
      suspicious: (address, reason) => wrapper.warnPrivate(address.definition, reason),
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
    proxyWatch: new ProxyWatch((message) => app.log.warn(`crossfade: ${message}`)),
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
