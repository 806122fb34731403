import type { Access } from '../access/access.ts'
import type { Authenticator } from '../identity/authenticator.ts'
import type { OriginRule } from '../access/origin.ts'
import type { ConnectionCounter } from '../connections/connection-counter.ts'
import type { ProxyDetector } from '../connections/proxy-detector.ts'
import type { FlushCycle } from '../delivery/flush-cycle.ts'
import type { Heartbeats } from '../connections/heartbeats.ts'
import type { OpenConnections } from '../connections/open-connections.ts'
import type { RequestRate } from '../connections/request-rate.ts'
import type { SessionPorts } from '../connections/session.ts'
import type { Limits } from '../limits.ts'
import type { PushGate } from '../feed/push-gate.ts'
import type { RolloutStore } from '../rollout/rollout.ts'
import type { RpcRegistry } from '../rpc/rpc-registry.ts'
import type { EndpointRunner } from '../endpoints/endpoint-runner.ts'
import type { RunDiagnosis } from '../endpoints/run-diagnosis.ts'
import type { Service } from '../connections/admit-to.ts'
import type { IdSpelling } from '../endpoints/id-spelling.ts'
import type { Skips } from '../endpoints/skips.ts'
import type { Hub } from '../topics/hub.ts'

/** What the transports share. */
export interface TransportContext {
  /** The path of `{base}` with the prefix of the scope in which the plugin was registered, and its `:parameters`. */
  readonly base: string
  readonly hub: Hub
  /** Whether this process may push now. */
  readonly gate: PushGate
  readonly access: Access
  readonly runner: EndpointRunner
  readonly authenticator: Authenticator
  readonly originAllowed: OriginRule
  readonly session: SessionPorts
  readonly cycle: FlushCycle
  readonly heartbeats: Heartbeats
  readonly counter: ConnectionCounter
  readonly proxyDetector: ProxyDetector
  readonly rate: RequestRate
  readonly connections: OpenConnections
  readonly rollout: RolloutStore
  readonly rpc: RpcRegistry
  readonly limits: Limits
  readonly service: Service
  readonly diagnosis: RunDiagnosis
  /** How long an SSE stream lives before it is rotated, ms; ± 20 % (R26). */
  readonly rotateMs: number
  /** How long before its credentials expire a client is asked for new ones, and how long after expiry they are awaited, ms (R53). */
  readonly expiryGraceMs: number
  readonly warn: (message: string) => void
  readonly skips: Skips
  /** `null` outside development. */
  readonly idSpelling: IdSpelling | null
}
