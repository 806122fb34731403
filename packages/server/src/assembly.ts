import type { FastifyInstance } from 'fastify'
import { Access } from './access/access.ts'
import { originRule } from './access/origin.ts'
import { memoryBroker } from './brokers/memory-broker.ts'
import { ConnectionCounter } from './connections/connection-counter.ts'
import { Heartbeats } from './connections/heartbeats.ts'
import { OpenConnections } from './connections/open-connections.ts'
import { ProxyDetector } from './connections/proxy-detector.ts'
import { RequestRate } from './connections/request-rate.ts'
import { TopicCounter } from './connections/topic-counter.ts'
import { FlushCycle } from './delivery/flush-cycle.ts'
import { EndpointRunner } from './endpoints/endpoint-runner.ts'
import type { TopicRegistry } from './endpoints/registry.ts'
import { RunDiagnosis, serviceName } from './endpoints/run-diagnosis.ts'
import { RunLog } from './endpoints/run-log.ts'
import { IdSpelling } from './endpoints/id-spelling.ts'
import { Skips } from './endpoints/skips.ts'
import { Authenticator } from './identity/authenticator.ts'
import { limitsOf } from './limits.ts'
import type { ResolvedOptions } from './options.ts'
import { PushGate } from './feed/push-gate.ts'
import { RolloutStore } from './rollout/rollout.ts'
import { errorLog } from './server-log.ts'
import { spreadOf } from './rollout/spread.ts'
import { RpcRegistry } from './rpc/rpc-registry.ts'
import { Hub } from './topics/hub.ts'
import { basePath } from './transports/base-path.ts'
import type { TransportContext } from './transports/context.ts'
import { EndpointWrapper } from './transports/endpoint/wrap.ts'

/** Creates the parts of the server and connects them. Only timers run yet. */
export function assemble(
  app: FastifyInstance,
  options: ResolvedOptions,
  registry: TopicRegistry,
): { context: TransportContext; wrapper: EndpointWrapper } {
  const limits = limitsOf(options.limits)
  const vary = (): string[] => [...new Set(registry.all().flatMap((definition) => definition.vary))]
  const service = { headers: lowerCased(options.service?.headers), ip: options.service?.ip ?? null }
  const runner = new EndpointRunner(app, options.loadTimeoutMs)
  const runLog = new RunLog(app.log)
  const diagnosis = new RunDiagnosis(runner, app.log)
  const errors = errorLog(app)
  const report = (error: unknown, context: string): void => errors.error(error, `crossfade: ${context} failed`)
  const skips = new Skips(
    {
      warn: (message) => app.log.warn(`crossfade: ${message}`),
      error: (message) => errors.error({}, `crossfade: ${message}`),
    },
    options.diagnostics,
  )
  const cycle = new FlushCycle(report)
  const rate = new RequestRate(limits.messagesPerSecond, limits.messageBurst)
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
      report,
      run: (address, as, run) => runner.run(address, as, run),
      service,
      revocationSeq: () => access.revocationSeq(),
      granted: (address, identity, seq) => {
        if (address.definition.authorize === null) access.granted(address, identity, seq)
      },
      grantedToRun: (address, as) => access.grantedToRun(address, as),
      refused: (address, identity) => {
        diagnosis.refused(address, identity.key)
        access.refused(address, identity)
      },
      refusedToRun: (address) => {
        diagnosis.refused(address, serviceName)
        access.refusedToRun(address)
      },
      suspicious: (address, reason) => wrapper.warnPrivate(address.definition, reason),
      loaded: (address, verdict) => {
        if (verdict.kind === 'value') diagnosis.answered(address.definition)
        runLog.loaded(address, verdict)
      },
      sharingEnded: (address) => {
        const { definition, name } = address
        errors.error(
          {},
          `crossfade: the topic "${name}" is no longer shared: ${definition.url} gives different answers to clients that should share one. Correct its audience, its group or its vary; if a field differs each time, such as a time, list it under ignore.`,
        )
        access.endAll(address, 'forbidden', `The topic "${name}" is no longer shared. Read its endpoint.`)
      },
      notCompared: ({ definition, name }) => runLog.notCompared(definition, name),
    },
    options.warmMs,
    limits.maxWarmTopics,
  )
  const access = new Access(
    { runner, shared: hub, refused: (address, identity) => diagnosis.refused(address, identity.key) },
    { grantMs: options.grantMs, recheckMs: options.reauthorizeMs, maxRechecks: options.maxReauthorizations },
  )
  const gate = new PushGate(options.feed === undefined ? 'open' : 'starting')
  const connections = new OpenConnections()
  const spreadMs = (): number => spreadOf(connections.size)
  const context: TransportContext = {
    base: basePath(app.prefix, options.base),
    hub,
    gate,
    access,
    runner,
    authenticator: new Authenticator(options.authenticate, vary),
    originAllowed: originRule(options.allowedOrigins),
    session: {
      hub,
      gate,
      access,
      topics: new TopicCounter(limits.maxTopicsPerPrincipal),
      report,
      service,
      skips,
      spreadMs,
      charge: (identity) => rate.acquire(identity),
    },
    cycle,
    heartbeats: new Heartbeats(limits.heartbeatMs),
    counter: new ConnectionCounter(limits.maxConnectionsPerPrincipal, limits.maxConnectionsPerAddress),
    proxyDetector: new ProxyDetector((message) => app.log.warn(`crossfade: ${message}`)),
    rate,
    diagnosis,
    connections,
    rollout: new RolloutStore(options.rollout),
    rpc: new RpcRegistry(report),
    limits,
    service,
    rotateMs: options.rotateMs,
    expiryGraceMs: options.expiryGraceMs,
    warn: (message) => app.log.warn(message),
    skips,
    idSpelling: options.diagnostics ? new IdSpelling((message) => app.log.warn(`crossfade: ${message}`)) : null,
  }
  const wrapper = new EndpointWrapper(context, registry)
  return { context, wrapper }
}

function lowerCased(headers: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}
