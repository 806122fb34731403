/** The limits of PROTOCOL §8 with their defaults. Bytes are of UTF-8; times are milliseconds. Each can be configured on the server. */
export const defaultLimits = {
  /** Longest message of a client; beyond it the connection closes with 1009. */
  maxMessageBytes: 65_536,
  /** Longest data of one event. */
  maxEventBytes: 1_048_576,
  maxTopicsPerConnection: 256,
  /** Live topics of one principal over all its connections. */
  maxTopicsPerPrincipal: 1_000,
  /** Topics that are kept warm for polls while nobody listens; beyond it the least recently used go cold (R8). */
  maxWarmTopics: 10_000,
  maxConnectionsPerPrincipal: 50,
  /** Connections of clients without account from one address; who has an account counts by it alone. */
  maxConnectionsPerAddress: 2_000,
  /** What may wait in one connection's outbox; beyond it the connection closes with 4413. */
  maxOutboxBytes: 1_048_576,
  /** Messages that a client may send, sustained and in a burst. */
  messagesPerSecond: 50,
  messageBurst: 100,
  /** A connection without `hello` closes after this time with 4408 (R32). */
  helloMs: 5_000,
  /** A `heartbeat` goes out in each interval in which nothing else was sent (R25). */
  heartbeatMs: 15_000,
  /** A client gives a connection up after this many silent heartbeat intervals. */
  heartbeatTolerance: 2.5,
  /** The longest that a poll is held. */
  maxHoldMs: 25_000,
  /** A client starts the polls of one loop at least this far apart. */
  minPollSpacingMs: 500,
  /** History of a log topic: events, bytes, age. */
  historyCount: 1_000,
  historyBytes: 4_194_304,
  historyMs: 600_000,
  /** Longest body of a poll or stream request. */
  maxBodyBytes: 262_144,
  maxTokenBytes: 8_192,
  /** An HTTP answer stops after the message that passes this size, with `more: true` (R9). */
  maxAnswerBytes: 1_048_576,
  /** A held poll waits this long for more after its first event (R20). */
  lingerMs: 250,
} as const

/** The name of a limit. */
export type LimitName = keyof typeof defaultLimits
