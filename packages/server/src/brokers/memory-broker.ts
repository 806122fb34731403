import { defaultLimits, newEpoch, type CursorParts } from '@crossfade/protocol'
import type {
  Append,
  Broker,
  BrokerListener,
  Entry,
  LogPage,
  LogState,
  OpenLog,
  Snapshot,
  SourcePosition,
} from './broker.ts'

/** Options of {@link memoryBroker}. */
export interface MemoryBrokerOptions {
  /** Entries kept per topic. Default 1,000 (PROTOCOL §8). */
  historyCount?: number
  /** Bytes of data kept per topic. Default 4 MiB. */
  historyBytes?: number
  /** Age at which an entry is dropped, ms. Default 10 minutes. */
  historyMs?: number
  /** How long the head of a quiet log topic stays known after its last use, ms. Default 1 hour. */
  headMs?: number
  /** A clock that never goes back, ms. Default `performance.now`. */
  now?: () => number
}

const idempotencyMs = 120_000
const sweepMs = 10_000

/**
 * The broker of one process: topics live in its memory, and a restart begins a new epoch.
 *
 * @returns a broker whose logs are bounded by count, bytes and age.
 */
export function memoryBroker(options: MemoryBrokerOptions = {}): Broker {
  return new MemoryBroker({
    historyCount: options.historyCount ?? defaultLimits.historyCount,
    historyBytes: options.historyBytes ?? defaultLimits.historyBytes,
    historyMs: options.historyMs ?? defaultLimits.historyMs,
    headMs: options.headMs ?? 3_600_000,
    now: options.now ?? (() => performance.now()),
  })
}

interface MemoryLog {
  kind: 'value' | 'log'
  head: number
  birth: number
  entries: Entry[]
  /** When each of `entries` was appended, by the broker's own clock: a commit time may be old, a wall clock may jump. */
  appendedAt: number[]
  bytes: number
  snapshot: Snapshot | null
  listeners: Set<BrokerListener>
  /** High-water mark per source: positions at or below it have been appended already. */
  highWater: Map<string, string>
  usedAt: number
}

class MemoryBroker implements Broker {
  readonly #options: Required<MemoryBrokerOptions>
  readonly #logs = new Map<string, MemoryLog>()
  readonly #idempotency = new Map<string, number>()
  /** High-water marks of topics that were dropped: a new topic starts above them. */
  readonly #droppedHighWater = new Map<string, string>()
  readonly #sweeper: NodeJS.Timeout
  #epoch = newEpoch()
  /** A new topic must not reuse an offset of this epoch: it starts above the greatest offset that was dropped. */
  #droppedHead = 0

  constructor(options: Required<MemoryBrokerOptions>) {
    this.#options = options
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs)
    this.#sweeper.unref()
  }

  open(key: string, kind: 'value' | 'log', listener: BrokerListener): Promise<OpenLog> {
    const log = this.#log(key, kind)
    log.listeners.add(listener)
    return Promise.resolve({
      state: () => this.#state(log),
      close: () => this.#close(key, listener),
    })
  }

  append(key: string, append: Append): Promise<CursorParts | null> {
    const log = this.#log(key, append.kind === 'event' ? 'log' : 'value')
    log.usedAt = this.#options.now()
    const offset = this.#store(key, log, append)
    return Promise.resolve(offset === null ? null : { epoch: this.#epoch, offset })
  }

  read(key: string, after: number, maxBytes: number): Promise<LogPage> {
    const log = this.#log(key, 'log')
    this.#trim(log)
    const first = log.entries[0]?.offset ?? log.head + 1
    const entries: Entry[] = []
    let bytes = 0
    for (let i = Math.max(0, after + 1 - first); i < log.entries.length && bytes < maxBytes; i++) {
      const entry = log.entries[i] as Entry
      entries.push(entry)
      bytes += entry.data.length
    }
    return Promise.resolve({ state: this.#state(log), entries })
  }

  reset(reason: string, logs?: (key: string) => boolean): Promise<void> {
    if (logs === undefined) this.#resetAll(reason)
    else this.#resetLogs(reason, logs)
    return Promise.resolve()
  }

  close(): Promise<void> {
    clearInterval(this.#sweeper)
    this.#logs.clear()
    return Promise.resolve()
  }

  #resetAll(reason: string): void {
    this.#epoch = newEpoch()
    this.#droppedHead = 0
    for (const [key, log] of this.#logs) {
      if (log.listeners.size === 0) {
        this.#logs.delete(key)
        this.#keepHighWater(log)
        continue
      }
      Object.assign(log, { ...this.#fresh(log.kind), listeners: log.listeners, highWater: log.highWater })
      this.#tellReset(log, reason)
    }
  }

  #resetLogs(reason: string, isLost: (key: string) => boolean): void {
    // A log that was forgotten may be among them: it starts above the cursors that it handed out.
    this.#droppedHead += 1
    for (const [key, log] of this.#logs) {
      if (log.kind !== 'log' || !isLost(key)) continue
      this.#forget(log)
      this.#tellReset(log, reason)
    }
  }

  #tellReset(log: MemoryLog, reason: string): void {
    const state = this.#state(log)
    for (const listener of log.listeners) listener.reset(state, reason)
  }

  #store(key: string, log: MemoryLog, append: Append): number | null {
    if (append.kind === 'event') return this.#appendEvent(key, log, append)
    if (append.kind === 'value') return this.#appendValue(log, append)
    if (append.kind === 'initial') return this.#storeInitial(log, append.value)
    return this.#forget(log)
  }

  #forget(log: MemoryLog): number {
    log.head += 1
    log.entries = []
    log.appendedAt = []
    log.bytes = 0
    log.snapshot = null
    return log.head
  }

  /** Stores the value at the present head: as an entry, so that its hash can be checked later, but without a new offset. */
  #storeInitial(log: MemoryLog, value: Snapshot): number {
    if (log.snapshot !== null) return log.head
    log.snapshot = value
    log.entries = [{ offset: log.head, event: 'snapshot', data: '', hash: value.hash, at: value.at }]
    log.appendedAt = [this.#options.now()]
    log.bytes = 0
    return log.head
  }

  #appendEvent(key: string, log: MemoryLog, append: Append & { kind: 'event' }): number | null {
    if (append.from && !this.#advance(log, append.from)) return null
    if (append.idempotencyKey !== undefined) {
      const id = `${key}\n${append.idempotencyKey}`
      const claimedAt = this.#idempotency.get(id)
      if (claimedAt !== undefined && this.#options.now() - claimedAt < idempotencyMs) return null
      this.#idempotency.set(id, this.#options.now())
    }
    this.#push(log, {
      offset: log.head + 1,
      event: append.event,
      data: append.data,
      ...(append.key === undefined ? {} : { key: append.key }),
      at: append.at,
    })
    return log.head
  }

  #appendValue(log: MemoryLog, append: Append & { kind: 'value' }): number | null {
    if (append.from) {
      const highest = log.highWater.get(append.from.source)
      if (highest !== undefined && append.from.position < highest) return null
      log.highWater.set(append.from.source, append.from.position)
    }
    const patch = append.patch !== null && log.snapshot !== null ? append.patch : null
    log.snapshot = append.value
    this.#push(log, {
      offset: log.head + 1,
      event: patch === null ? 'snapshot' : 'patch',
      data: patch ?? '',
      hash: append.value.hash,
      at: append.value.at,
    })
    return log.head
  }

  /** Moves the topic's high-water mark; false when the source position was appended already. */
  #advance(log: MemoryLog, from: SourcePosition): boolean {
    const highest = log.highWater.get(from.source) ?? this.#droppedHighWater.get(from.source)
    if (highest !== undefined && from.position <= highest) return false
    log.highWater.set(from.source, from.position)
    return true
  }

  #push(log: MemoryLog, entry: Entry): void {
    log.entries.push(entry)
    log.appendedAt.push(this.#options.now())
    log.bytes += entry.data.length
    log.head = entry.offset
    this.#trim(log)
    const state = this.#state(log)
    for (const listener of log.listeners) listener.entry(entry, state)
  }

  #trim(log: MemoryLog): void {
    const { historyCount, historyBytes, historyMs, now } = this.#options
    const oldest = now() - historyMs
    let drop = 0
    while (drop < log.entries.length) {
      const entry = log.entries[drop] as Entry
      if (
        log.entries.length - drop <= historyCount &&
        log.bytes <= historyBytes &&
        (log.appendedAt[drop] as number) >= oldest
      )
        break
      log.bytes -= entry.data.length
      drop += 1
    }
    if (drop === 0) return
    log.entries.splice(0, drop)
    log.appendedAt.splice(0, drop)
  }

  #state(log: MemoryLog): LogState {
    return {
      epoch: this.#epoch,
      head: log.head,
      birth: log.birth,
      trimmedUpTo: (log.entries[0]?.offset ?? log.head + 1) - 1,
      snapshot: log.snapshot,
    }
  }

  #log(key: string, kind: 'value' | 'log'): MemoryLog {
    let log = this.#logs.get(key)
    if (!log) {
      log = this.#fresh(kind)
      this.#logs.set(key, log)
    }
    return log
  }

  #fresh(kind: 'value' | 'log'): MemoryLog {
    // A value topic starts one above: changes while it was cold are unknown, so no older cursor may seem current (R8).
    const head = kind === 'value' ? this.#droppedHead + 1 : this.#droppedHead
    return {
      kind,
      head,
      birth: head,
      entries: [],
      appendedAt: [],
      bytes: 0,
      snapshot: null,
      listeners: new Set(),
      highWater: new Map(),
      usedAt: this.#options.now(),
    }
  }

  #close(key: string, listener: BrokerListener): void {
    const log = this.#logs.get(key)
    if (!log?.listeners.delete(listener)) return
    log.usedAt = this.#options.now()
    // A log that never had an entry has nothing to remember: asking for many names must not fill the memory.
    const isEmpty = log.kind === 'value' || log.head === log.birth
    if (isEmpty && log.listeners.size === 0) this.#drop(key, log)
  }

  #drop(key: string, log: MemoryLog): void {
    this.#logs.delete(key)
    this.#droppedHead = Math.max(this.#droppedHead, log.head)
    this.#keepHighWater(log)
  }

  /** Events that a dropped log had are not appended again when a feed repeats them. */
  #keepHighWater(log: MemoryLog): void {
    // Only log topics count every source position; a value topic's high-water mark says nothing about another topic's events.
    if (log.kind !== 'log') return
    for (const [source, highest] of log.highWater) {
      const known = this.#droppedHighWater.get(source)
      if (known === undefined || highest > known) this.#droppedHighWater.set(source, highest)
    }
  }

  #sweep(): void {
    const now = this.#options.now()
    for (const [key, log] of this.#logs) {
      this.#trim(log)
      if (log.listeners.size === 0 && log.entries.length === 0 && now - log.usedAt > this.#options.headMs)
        this.#drop(key, log)
    }
    for (const [id, at] of this.#idempotency) {
      if (now - at > idempotencyMs) this.#idempotency.delete(id)
      else break
    }
  }
}
