import { formatCursor, hashValue, parseCursor, type ServerMessage } from '@crossfade/protocol'
import type { TopicSubscription } from '../src/topics/subscription.ts'
import type { Asked } from '../src/transports/asked-topics.ts'

const nothing: Asked = { id: '', cursor: undefined }

interface Entry {
  readonly value: { n: number }
  readonly hash: string
}

/** A connection: what was sent on it and not yet received, in order. */
export interface ModelConnection {
  readonly sent: { asked: Asked; message: ServerMessage }[]
  asked: Asked
  /** R6: the client's value is unknown. */
  needsSnapshot: boolean
}

/**
 * A value topic as the contract describes it (R2–R8): `n` of the database grows, the topic loads it later, and a join with another
 * hash waits for a fresh load. Everything a client is sent goes through here, so that a test can deliver it in any order it likes.
 */
export class ModelServer {
  readonly topic = 'model'
  n = 0
  #epoch = 'aaaaaaaaaaaa'
  #epochs = 0
  #base = 0
  #entries: Entry[] = [entryOf(0)]
  connections: ModelConnection[] = []

  get head(): number {
    return this.#base + this.#entries.length - 1
  }

  get cursor(): string {
    return formatCursor(this.#epoch, this.head)
  }

  write(): void {
    this.n += 1
  }

  /** The topic reads the database; equal results are dropped. */
  load(): void {
    const last = this.#entryAt(this.head)
    if (last?.value.n === this.n) return
    const entry = entryOf(this.n)
    this.#entries.push(entry)
    for (const connection of this.connections) this.#emit(connection, connection.needsSnapshot)
  }

  /** Old entries are dropped. */
  trim(): void {
    this.#base = this.head
    this.#entries = this.#entries.slice(-1)
  }

  /** A memory broker restarts: another epoch, and all connections are cut. */
  restart(): void {
    this.#epochs += 1
    this.#epoch = `b${String(this.#epochs).padStart(11, '0')}`
    this.#base = this.#epochs % 3
    this.#entries = [entryOf(this.n)]
    this.connections = []
  }

  connect(): ModelConnection {
    const connection: ModelConnection = { sent: [], asked: nothing, needsSnapshot: false }
    this.connections.push(connection)
    return connection
  }

  /** A `subscribe` with the client's position. */
  join(connection: ModelConnection, subscription: TopicSubscription): void {
    const { cursor, hash } = subscription.position
    // The old subscription ends at once, and the new one gets nothing before `subscribed`.
    connection.asked = nothing
    connection.needsSnapshot = false
    if (hash !== undefined && hash !== this.#entryAt(this.head)?.hash) this.load()
    connection.asked = { id: subscription.id, cursor }
    const mine = cursor === undefined ? null : parseCursor(cursor)
    if (mine === null) return this.#answer(connection, formatCursor(this.#epoch, 0), true, 'snapshot')
    const known = mine.epoch === this.#epoch && mine.offset <= this.head
    const entry = known ? this.#entryAt(mine.offset) : undefined
    const isOther = entry !== undefined && hash !== undefined && hash !== entry.hash
    if (!known) return this.#answer(connection, formatCursor(this.#epoch, 0), false, 'snapshot')
    if (isOther) return this.#answer(connection, cursor as string, true, 'snapshot')
    if (entry !== undefined && hash === entry.hash) return this.#answer(connection, cursor as string, true, mine.offset)
    connection.needsSnapshot = mine.offset === this.head
    return this.#answer(connection, cursor as string, true, mine.offset === this.head ? 'nothing' : 'snapshot')
  }

  #answer(
    connection: ModelConnection,
    cursor: string,
    recovered: boolean,
    then: number | 'snapshot' | 'nothing',
  ): void {
    const { topic } = this
    this.#send(connection, { type: 'subscribed', id: connection.asked.id, topic, kind: 'value', cursor, recovered })
    if (then === 'snapshot') this.#emit(connection, true)
    else if (then !== 'nothing')
      for (let offset = then + 1; offset <= this.head; offset++) this.#patch(connection, offset)
  }

  #emit(connection: ModelConnection, asSnapshot: boolean): void {
    if (connection.asked === nothing) return
    if (!asSnapshot) return this.#patch(connection, this.head)
    connection.needsSnapshot = false
    const { value, hash } = this.#entryAt(this.head) as Entry
    const { topic, cursor } = this
    return this.#send(connection, { type: 'event', topic, cursor, event: 'snapshot', data: value, hash, at: 0 })
  }

  #patch(connection: ModelConnection, offset: number): void {
    const { value, hash } = this.#entryAt(offset) as Entry
    const data = [{ op: 'replace', path: '/n', value: value.n }]
    const cursor = formatCursor(this.#epoch, offset)
    this.#send(connection, { type: 'event', topic: this.topic, cursor, event: 'patch', data, hash, at: 0 })
  }

  #send(connection: ModelConnection, message: ServerMessage): void {
    connection.sent.push({ asked: connection.asked, message })
  }

  #entryAt(offset: number): Entry | undefined {
    return this.#entries[offset - this.#base]
  }
}

function entryOf(n: number): Entry {
  return { value: { n }, hash: hashValue({ n }) }
}
