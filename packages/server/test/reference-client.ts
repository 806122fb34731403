import {
  applyPatch,
  hashValue,
  parseCursor,
  parseHeader,
  type EventMessage,
  type ServerMessage,
  type TopicPosition,
} from '@crossfade/protocol'

/** A REST answer as a client sees it. */
export interface Seen {
  readonly header: string | undefined
  readonly body: unknown
}

/** What a client has of a value topic by R7 and R8, and every breach of the contract that it noticed. */
export class HeldValue {
  value: unknown
  hash: string | undefined
  cursor: string | undefined
  readonly breaches: string[] = []
  readonly #versionOf: (value: unknown) => number
  /** The next entry is the first one: a snapshot counts at the same offset, too (R7). */
  #isFirst = true
  /** The server could not use its cursor: a snapshot follows, whatever its offset (R4, R7). */
  #isLost = true
  #version = -1

  constructor(versionOf: (value: unknown) => number) {
    this.#versionOf = versionOf
  }

  get position(): TopicPosition {
    if (this.cursor === undefined) return {}
    return { cursor: this.cursor, ...(this.hash === undefined ? {} : { hash: this.hash }) }
  }

  /** A subscription begins from {@link position}. */
  begin(): void {
    this.#isFirst = true
    this.#isLost = this.cursor === undefined
  }

  /** R8: an answer with the same hash changes nothing, one with a lower cursor of this epoch is stale. */
  read({ header, body }: Seen): void {
    const parsed = parseHeader(header)
    if (parsed?.hash === undefined || parsed.hash === this.hash) return
    if (parsed.hash !== hashValue(body)) this.breaches.push(`the hash ${parsed.hash} is not that of the body`)
    const [now, own] = [parseCursor(parsed.cursor), this.cursor === undefined ? null : parseCursor(this.cursor)]
    if (own !== null && own.epoch === now.epoch && now.offset < own.offset) return
    this.#take(body, parsed.hash, parsed.cursor)
  }

  hear(message: ServerMessage): void {
    if (message.type === 'subscribed') {
      this.#isFirst = true
      this.#isLost = !message.recovered || this.cursor === undefined
      if (message.recovered && this.cursor !== undefined && message.cursor !== this.cursor)
        this.breaches.push(`recovered from ${message.cursor} instead of ${this.cursor}`)
    } else if (message.type === 'reset') this.#isFirst = this.#isLost = true
    else if (message.type === 'event') this.#apply(message)
  }

  #apply({ event, cursor, data, hash }: EventMessage): void {
    const [now, own] = [parseCursor(cursor), this.cursor === undefined ? null : parseCursor(this.cursor)]
    const grows = own !== null && own.epoch === now.epoch && now.offset > own.offset
    if (event === 'snapshot') {
      const isSame = own !== null && own.epoch === now.epoch && now.offset === own.offset
      if (!grows && !(this.#isFirst && (this.#isLost || isSame)))
        this.breaches.push(`snapshot ${cursor} after ${this.cursor}`)
      this.#take(data, hash, cursor)
    } else if (event === 'patch' && grows && now.offset === (own?.offset ?? 0) + 1 && !this.#isLost) {
      this.#take(applyPatch(this.value, data as Parameters<typeof applyPatch>[1]), hash, cursor)
    } else this.breaches.push(`${event} ${cursor} after ${this.cursor}`)
    this.#isFirst = this.#isLost = false
  }

  #take(value: unknown, hash: string | undefined, cursor: string): void {
    if (hash !== hashValue(value)) this.breaches.push(`drift at ${cursor}: the hash differs`)
    const version = this.#versionOf(value)
    if (version < this.#version) this.breaches.push(`version ${version} after ${this.#version} at ${cursor}`)
    Object.assign(this, { value, hash, cursor })
    this.#version = version
  }
}

/** What a client has of a log topic: the items by key, and every breach that it noticed. */
export class HeldLog {
  readonly keys: Set<string> = new Set()
  cursor: string | undefined
  readonly breaches: string[] = []
  /** The endpoint must be read again from its beginning. */
  mustRead = true

  get position(): TopicPosition {
    return this.cursor === undefined ? {} : { cursor: this.cursor }
  }

  read(keys: readonly string[]): void {
    for (const key of keys) this.keys.add(key)
    this.mustRead = false
  }

  hear(message: ServerMessage): void {
    if (message.type === 'reset' || message.type === 'subscribed') {
      const lost = message.type === 'reset' || !message.recovered || this.cursor === undefined
      if (lost) this.mustRead = true
      else if (message.cursor !== this.cursor)
        this.breaches.push(`recovered from ${message.cursor}, not ${this.cursor}`)
      this.cursor = message.cursor
    } else if (message.type === 'event') {
      const [now, own] = [parseCursor(message.cursor), parseCursor(this.cursor ?? '')]
      if (now.epoch !== own.epoch || now.offset !== own.offset + 1)
        this.breaches.push(`event ${message.cursor} after ${this.cursor}`)
      this.cursor = message.cursor
      this.keys.add(message.key ?? '')
    }
  }
}
