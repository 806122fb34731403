import type { ChangeFeed } from '@crossfade/changefeed'
import type { Rollout } from '@crossfade/protocol'
import type { Broker } from './brokers/broker.ts'
import type { Authenticate } from './identity/authenticator.ts'
import type { Limits } from './limits.ts'
import type { OperatorCheck } from './transports/operator.ts'

/** Options of the Crossfade plugin. All have defaults that work for one process. */
export interface CrossfadeOptions {
  /** Where the push endpoints are mounted. Default `/crossfade`. */
  base?: string
  /** Watches the database. Without one, topics change by `publish()`, `invalidate()` and `refresh` only. */
  feed?: ChangeFeed
  /**
   * What to do when the feed cannot follow the database: it is down, refuses, lacks a table or a setting, or another process has the
   * slot. `poll`: the application starts anyway, every feature is `off`, and the feed is retried until it succeeds; with
   * another process on the slot this one stands by and takes over when that one ends. `throw`: `app.ready()` rejects with the feed's
   * own error. Mistakes in code are thrown either way. Default `poll`.
   */
  feedFailure?: 'poll' | 'throw'
  /** The log and the fan-out. Default: the memory of this process. */
  broker?: Broker
  /** Identifies a client. Default: everybody is anonymous. */
  authenticate?: Authenticate
  /** Who may change rollouts. Default: nobody. */
  operator?: OperatorCheck
  /** The rollout that each feature starts with. Default: every feature is off. */
  rollout?: Readonly<Record<string, Partial<Rollout>>>
  /** Origins besides the request's own whose pages may connect, such as `https://app.example.com` (R51). */
  allowedOrigins?: readonly string[]
  /**
   * The request headers and the network address with which public topics are loaded. Default: no headers, an
   * anonymous request, from the address of a client that waits for the value.
   */
  service?: { headers?: Readonly<Record<string, string>>; ip?: string }
  /** The limits of PROTOCOL §8 that differ from the defaults. */
  limits?: Partial<Limits>
  /** How long a topic stays warm after its last use, ms. Default 2 minutes. */
  warmMs?: number
  /** How long a loader may take, ms. Default 10 s. */
  loadTimeoutMs?: number
  /** How long a permission is cached, ms (R52). Default 30 s. */
  grantMs?: number
  /** How often open subscriptions are authorized again, ms, ± 20 % (R14). Default 60 s. */
  reauthorizeMs?: number
  /** How many open subscriptions are authorized again at once. Default 8. */
  maxReauthorizations?: number
  /** How long before credentials expire the client is asked for new ones, and how long after expiry the connection ends, ms (R53). Default 25 s. */
  expiryGraceMs?: number
  /** How long an SSE stream lives, ms, ± 20 % (R26). Default 10 minutes. */
  rotateMs?: number
  /**
   * Whether an answer of a wrapped route that is not a topic says why, in a `Crossfade-Skipped` header, and the log gives each reason once
   * per route. It names parameters and routes, so it is for development. Default: unless `NODE_ENV` is `production`.
   */
  diagnostics?: boolean
}

/** The options with defaults filled in. */
export interface ResolvedOptions extends CrossfadeOptions {
  readonly base: string
  readonly feedFailure: 'poll' | 'throw'
  readonly allowedOrigins: readonly string[]
  readonly warmMs: number
  readonly loadTimeoutMs: number
  readonly grantMs: number
  readonly reauthorizeMs: number
  readonly maxReauthorizations: number
  readonly expiryGraceMs: number
  readonly rotateMs: number
  readonly diagnostics: boolean
}
