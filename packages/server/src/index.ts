/**
 * The Crossfade server: a Fastify plugin that serves the same topics over polling, long polling, SSE and WebSocket with one cursor.
 *
 * @module
 */
export { crossfade, crossfade as default } from './plugin.ts'
export type { CrossfadeOptions } from './options.ts'
export type { Crossfade, PublishOptions } from './crossfade.ts'
export type {
  Audience,
  Group,
  LogTopicOptions,
  RouteOptions,
  StandaloneLogOptions,
  TopicOptions,
  ValueTopicOptions,
} from './endpoints/definition.ts'
export { log, value, type Misfit, type PatternParams } from './endpoints/declare.ts'
export type { Authenticate } from './identity/authenticator.ts'
export type { ClaimName, Claims, GivenPrincipal, Headers, Principal } from './identity/principal.ts'
export type { Limits } from './limits.ts'
export type { OperatorCheck } from './transports/operator.ts'
export type { FeatureRollout, RolloutStore } from './rollout/rollout.ts'
export type { RpcHandler, RpcValidator } from './rpc/rpc-registry.ts'
export type {
  Append,
  Broker,
  BrokerListener,
  Entry,
  LogPage,
  LogState,
  OpenLog,
  Snapshot,
  SourcePosition,
} from './brokers/broker.ts'
export { memoryBroker, type MemoryBrokerOptions } from './brokers/memory-broker.ts'
