import type { Response, ServerMessage } from '@crossfade/protocol'
import type { Environment } from '../environment.ts'
import type { Timing } from '../timing.ts'
import type { TopicSubscription } from '../topics/subscription.ts'
import type { Asked } from './asked-topics.ts'
import type { HoldMemory } from './hold-memory.ts'

/** The rungs of the ladder, best first. The last one needs nothing of Crossfade: watch() polls the endpoint itself. */
export const transportNames = ['websocket', 'sse', 'longpoll', 'shortpoll'] as const
export type TransportName = (typeof transportNames)[number]

/** Why a transport ended or was given up. */
export type EndReason =
  | 'closed'
  | 'ws-blocked'
  | 'ws-silent'
  | 'sse-blocked'
  | 'sse-buffered'
  | 'poll-failed'
  | 'auth'
  | 'refused'
  | 'unsupported'

/** How a transport ended. */
export interface TransportEnd {
  readonly reason: EndReason
  /** The server announced it by `bye`: when to come back, ms; `null`: not at all. */
  readonly retryMs?: number | null
}

/** What a transport works with and calls. */
export interface TransportPort {
  readonly environment: Environment
  readonly timing: Timing
  /** Absolute URL of the base. */
  readonly base: string
  /** How long polls may be held here. */
  readonly hold: HoldMemory
  /** A fresh token, or `undefined` when cookies do. */
  token(): Promise<string | undefined>
  /** What is wanted now. */
  subscriptions(): Iterable<TopicSubscription>
  /** Up to which version rollouts were heard of; the server tells what is newer (R61). */
  heard(): number
  /** @param asked what the message answers: what an older subscription still gets must not reach a newer one. */
  message(message: ServerMessage, asked: Asked | undefined): void
  /** It works: not only opened, but carried frames in time. */
  proved(): void
  ended(end: TransportEnd): void
}

/** A call of a method: at most once under this id (R34). */
export interface Call {
  readonly id: string
  readonly method: string
  readonly params: unknown
}

/** A way to carry messages. Created by a function that begins to open it at once. */
export interface Transport {
  /** What is wanted has changed. */
  sync(): void
  close(): void
  /** Goes on under a new token; `undefined`: under the cookies of now. */
  renew?(token: string | undefined): void
  /** Finds out whether it still lives, for those that can ask. */
  test?(): void
  /**
   * Sends a call, for those that can.
   *
   * @returns `null` when it goes another way; it resolves to `null` when the connection ended before the answer.
   */
  call?(call: Call): Promise<Response | null> | null
}

export type OpenTransport = (port: TransportPort) => Transport
