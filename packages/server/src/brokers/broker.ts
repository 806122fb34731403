import type { CursorParts } from '@crossfade/protocol'

/** One entry of a topic's log (PROTOCOL §1). `data` is JSON text on one line, so that its bytes are produced once. */
export interface Entry {
  readonly offset: number
  /** The application's event name, or `snapshot` / `patch` on a value topic. */
  readonly event: string
  /** JSON text. Empty on a value topic's `snapshot` entry: the value is the log's own `snapshot`. */
  readonly data: string
  /** Value topics: hash of the value after this entry. */
  readonly hash?: string
  /** Log topics: id of the item, by which a client recognises what a REST answer already gave it. */
  readonly key?: string
  /** When the change was committed or published, ms since 1970. */
  readonly at: number
}

/** A value topic's newest value. */
export interface Snapshot {
  readonly data: string
  readonly hash: string
  readonly at: number
}

/** What a broker knows about a topic without reading its entries. */
export interface LogState {
  readonly epoch: string
  /** Offset of the newest entry. */
  readonly head: number
  /** Offset at which this memory of the topic began; smaller ones belong to a topic that was dropped while cold. */
  readonly birth: number
  /** Offset of the last entry dropped from history (R3). */
  readonly trimmedUpTo: number
  readonly snapshot: Snapshot | null
}

/** Where a change comes from. Source positions of one source compare as strings. */
export interface SourcePosition {
  readonly source: string
  readonly position: string
}

export type Append =
  /** A log topic's event. Dropped when its source position is at or below the topic's high-water mark. */
  | {
      readonly kind: 'event'
      readonly event: string
      readonly data: string
      readonly key?: string
      readonly at: number
      readonly from?: SourcePosition
      /** An id that is repeated within two minutes appends nothing. */
      readonly idempotencyKey?: string
    }
  /** A value topic's new value; `patch` (JSON text) leads from the previous value to it. Dropped when its source position is below the high-water mark. */
  | {
      readonly kind: 'value'
      readonly value: Snapshot
      readonly patch: string | null
      readonly from?: SourcePosition
    }
  /** The first value since the topic became warm: stored at the present head, without a new entry. */
  | { readonly kind: 'initial'; readonly value: Snapshot }
  /** The value changed while nobody needed it: the offset moves on, the value is forgotten. */
  | { readonly kind: 'forget' }

export interface BrokerListener {
  /** Called in offset order for each entry appended after the log was opened. */
  entry(entry: Entry, state: LogState): void
  /** Everything before is lost: a new epoch began, or the log's history ended within its epoch (R4). */
  reset(state: LogState, reason: string): void
}

/** An open log: `state()` is always the newest. */
export interface OpenLog {
  state(): LogState
  close(): void
}

/** Entries after an offset, oldest first, as many as fit on the page. */
export interface LogPage {
  readonly state: LogState
  readonly entries: readonly Entry[]
}

/**
 * The log and the fan-out of topics (DESIGN §3.3). `key` names a topic within the broker: the topic's name and, for a topic that
 * is not public, its audience.
 */
export interface Broker {
  /** Opens a topic and follows it. */
  open(key: string, kind: 'value' | 'log', listener: BrokerListener): Promise<OpenLog>
  /**
   * Atomic: assigns the offset, stores, notifies. Resolves to the topic's head afterwards, in the epoch in which it was appended, or to
   * `null` when the entry was a repeat.
   */
  append(key: string, append: Append): Promise<CursorParts | null>
  /** Reads entries after `after`, at most `maxBytes` of data (always at least one entry when there is one). */
  read(key: string, after: number, maxBytes: number): Promise<LogPage>
  /**
   * Something was lost before it reached the broker: a new epoch begins for every topic.
   *
   * @param logs where only these log topics lost something, known to the broker or not: the history of each ends within the epoch, at
   *   an offset above every cursor given before. A broker that cannot tell them apart resets all.
   */
  reset?(reason: string, logs?: (key: string) => boolean): Promise<void>
  close?(): Promise<void>
}
