import type { ErrorCode } from './codes.ts'
import type { Stage } from './rollout.ts'

/** `value` – "what is it now", one JSON value; `log` – "what happened", every event counts (PROTOCOL §1). */
export type TopicKind = 'value' | 'log'

/** What a subscription gets: the events themselves, or only word that there are some (stage `hint`). */
export type SubscriptionMode = 'events' | 'changes'

/** Server → client, the first message: the client is accepted, and the path lets messages through (R25, R32). */
export interface Hello {
  type: 'hello'
  protocol: number
  /** Names this connection in logs. */
  connection: string
  /** The heartbeat interval, ms. */
  heartbeat: number
  /** How many topics this connection may have. */
  maxTopics: number
  /** The server's clock, ms since 1970. */
  at: number
  /** Opaque tag of the principal, as in the endpoint's header; absent: nobody is authenticated. */
  for?: string
}

/** Server → client: a subscription has begun (R3, R4). */
export interface Subscribed {
  type: 'subscribed'
  /** Of the `subscribe`, where there was one. */
  id?: string
  topic: string
  kind: TopicKind
  /** The client's own if it gave one and `recovered`; else offset 0 if a snapshot follows; else the position before the first event given, or the head. */
  cursor: string
  /** False: events may have been lost (R4). */
  recovered: boolean
  /** Where the client has to re-read its endpoint: after a random time up to this, ms, so that not all come at once. Default 0. */
  wait?: number
}

/** Server → client: one event of a topic (R2). */
export interface EventMessage {
  type: 'event'
  topic: string
  cursor: string
  /** The application's name; `snapshot` or `patch` on a value topic. */
  event: string
  data: unknown
  /** Value topics: the hash of the value after this event. */
  hash?: string
  /** Log topics: the id of the thing, by which a client recognises what a REST answer had given it already. */
  key?: string
  /** When the change was committed or published, ms since 1970. */
  at: number
}

/** Server → client, with `mode: "changes"`: re-read the endpoint. */
export interface Changed {
  type: 'changed'
  topic: string
  cursor: string
  /** Re-read after a random time up to this, ms, so that not all come at once. */
  wait: number
}

/** Server → client: history was lost on a live subscription, with the consequences of `recovered: false` (R4). */
export interface Reset {
  type: 'reset'
  topic: string
  /** As in `subscribed`. */
  cursor: string
  reason: string
  /** As in `subscribed`. */
  wait?: number
}

/**
 * Why a server cannot vouch for a topic (R55):
 * `endpoint_failed` – its endpoint answers 5xx, or not with JSON; `endpoint_timeout` – it does not answer in time;
 * `rate_limited` – it answers 429; `refused` – it refuses the credentials under which it is read;
 * `feed_down` – changes of the database do not arrive;
 * `unverified` – whether the subscriber may still read it cannot be told: events are withheld until it can.
 */
export const staleReasons = [
  'endpoint_failed',
  'endpoint_timeout',
  'rate_limited',
  'refused',
  'feed_down',
  'unverified',
] as const

/** A code that says why a topic is stale. */
export type StaleReason = (typeof staleReasons)[number]

/** Server → client: the topic may have changed without the subscription telling it, until `fresh` (R55). */
export interface Stale {
  type: 'stale'
  topic: string
  /** Since when, ms since 1970. */
  since: number
  reason: StaleReason
}

/** Server → client: what `stale` said is over (R55). */
export interface Fresh {
  type: 'fresh'
  topic: string
  /** Of the topic's newest event; what the client lacks of it follows. */
  cursor: string
}

/** Why a subscription ended. */
export type UnsubscribedCode = 'requested' | 'forbidden' | 'expired' | 'gone'

/** Server → client: a subscription has ended; the connection goes on (R54). */
export interface Unsubscribed {
  type: 'unsubscribed'
  id?: string
  topic: string
  code: UnsubscribedCode
  message: string
}

/** Server → client: a feature's rollout, which has changed or which the client has not heard of (R60, R61). */
export interface StageMessage {
  type: 'stage'
  feature: string
  stage: Stage
  percent: number
  rest: Stage
  /** Whole number. A message or header with a lower one than the client knows for the feature is old. */
  version: number
  /** Who is affected moves at a random time within this, ms. */
  spread: number
}

/** Server → client: alive. Also the answer to `ping` (R25). */
export interface Heartbeat {
  type: 'heartbeat'
  /** The server's clock, ms: a path that buffers shows as a growing delay. */
  at: number
  /** Counts up, or is the `n` of the `ping`. */
  n: number
}

/** What went wrong, to be read by code and by people. */
export interface Failure {
  code: ErrorCode
  message: string
}

/** Server → client: the answer to a `request` or a `token`, with `result` or `error` (R34, R53). */
export interface Response {
  type: 'response'
  id: string
  result?: unknown
  error?: Failure
}

/** Server → client: this message or topic was refused; the connection goes on (R23, R33). */
export interface ErrorMessage extends Failure {
  type: 'error'
  topic?: string
  id?: string
  /** Ask again after this, ms, jittered. */
  retry?: number
}

/** Server → client: the connection is about to be closed on purpose (R26). */
export interface Bye {
  type: 'bye'
  /** A close code of PROTOCOL §6. */
  code: number
  /** Come back after this, ms, jittered; `null`: not at all. */
  retry: number | null
  message: string
}

/** All that a server sends. */
export type ServerMessage =
  | Hello
  | Subscribed
  | EventMessage
  | Changed
  | Reset
  | Stale
  | Fresh
  | Unsubscribed
  | StageMessage
  | Heartbeat
  | Response
  | ErrorMessage
  | Bye

/** Client → server, the first message (R32). */
export interface ClientHello {
  type: 'hello'
  protocol: number
  /** Credentials, where neither cookie nor header carried them at the upgrade (R50). */
  token?: string
  /** The greatest `version` of a `stage` message that the client has heard, 0 if none: rollouts with a greater one are told (R61). */
  stagesSince?: number
}

/** A client's position in a topic. */
export interface TopicPosition {
  /** The last event that the client has applied. */
  cursor?: string
  /** Of the client's value at that cursor: patches are sent only if it is the server's (R6). */
  hash?: string
  /** Log topics without cursor: how many past events to begin with, 0 to 10,000. Default 0. */
  history?: number
  /** Default `events`. */
  mode?: SubscriptionMode
  /** The client was told that the topic is stale: it hears at once when that is not so any more (R55). Default false. */
  stale?: boolean
}

/** Client → server: subscribe to a topic; a second one to the same topic replaces the first (R33). */
export interface Subscribe extends TopicPosition {
  type: 'subscribe'
  /** Names the subscription; 1 to 128 characters, chosen by the client. */
  id: string
  topic: string
}

/** Client → server: end a subscription, also one still under way (R33). */
export interface Unsubscribe {
  type: 'unsubscribe'
  id: string
}

/** Client → server: call a method, at most once (R34). */
export interface Request {
  type: 'request'
  /** At least 128 random bits; 22 to 128 characters. */
  id: string
  method: string
  params?: unknown
}

/** Client → server: fresh credentials of the same principal (R53). */
export interface Token {
  type: 'token'
  token: string
  /** With it the token is answered by a `response`: `result: null`, or an `error`. Without it only an `error` message says that it was refused. */
  id?: string
}

/** Client → server: answered by a `heartbeat` with the same `n`. */
export interface Ping {
  type: 'ping'
  n: number
}

/** All that a client sends over a WebSocket. */
export type ClientMessage = ClientHello | Subscribe | Unsubscribe | Request | Token | Ping
