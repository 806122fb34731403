/**
 * The Crossfade shim for browsers and Node.
 *
 * @module
 */
export {
  createClient,
  type Client,
  type ClientEvents,
  type ClientOptions,
  type ClientStatus,
  type RequestRecord,
  type SubscribeOptions,
  type Subscription,
} from './client.ts'
export type { Environment, WebSocketLike } from './environment.ts'
export type { Reason } from './link/machine.ts'
export type { Timing } from './timing.ts'
export type { TransportName } from './transports/transport.ts'
export type { Parity } from './watch/parity.ts'
export type { WatchInfo } from './watch/value-queue.ts'
export type { Watch, WatchOptions, WatchState } from './watch/watch.ts'
