import { hashValue } from '@crossfade/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { environmentOf } from '../src/environment.ts'
import { TopicRegistry } from '../src/topics/topic-registry.ts'
import { ModelServer, type ModelConnection } from './model-server.ts'

type Happening =
  | 'write'
  | 'load'
  | 'trim'
  | 'restart'
  | 'ask'
  | 'read'
  | 'answer'
  | 'receive'
  | 'repeat'
  | 'climb'
  | 'reconnect'

interface Answer {
  cursor: string
  askedIn: string | null
  n: number | null
}

/** A page that follows a value topic over up to two connections, and reads the endpoint now and then. */
class Page {
  readonly server = new ModelServer()
  readonly shown: number[] = []
  drifts = 0
  readonly #topics: TopicRegistry
  #connection: ModelConnection
  #climber: ModelConnection | null = null
  #answers: Answer[] = []
  #received: ModelConnection['sent'] = []
  #isStale = false

  constructor() {
    this.#connection = this.server.connect()
    this.#topics = new TopicRegistry(
      () => (this.#isStale = true),
      () => (this.drifts += 1),
      environmentOf(),
    )
    this.#topics.follow(this.server.topic, {}, { onValue: (value) => this.#show((value as { n: number }).n) })
    this.sync()
  }

  /** What the transports do when what is wanted has changed. */
  sync(): void {
    this.#isStale = false
    const subscription = this.#topics.get(this.server.topic)
    if (subscription === undefined) throw new Error('The topic is not followed any more.')
    for (const connection of [this.#connection, this.#climber]) {
      if (connection !== null && connection.asked.id !== subscription.id) this.server.join(connection, subscription)
    }
  }

  do(happening: Happening, pick: number): void {
    if (happening === 'write' || happening === 'load' || happening === 'trim') this.server[happening]()
    else this[happening](pick)
    if (this.#isStale) this.sync()
  }

  /** Everything that is on its way arrives, and the page is connected. */
  settle(): void {
    this.server.load()
    for (const answer of this.#answers) answer.n ??= this.server.n
    while (this.#answers.length > 0) this.do('answer', 0)
    this.do('reconnect', 0)
    for (let turn = 0; turn < 100 && this.#connection.sent.length > 0; turn++) this.do('receive', 0)
  }

  #show(n: number): void {
    this.shown.push(n)
  }

  /** The process dies with the requests that it was answering. */
  restart(): void {
    this.#answers = this.#answers.filter(({ n }) => n !== null)
    this.server.restart()
    this.reconnect()
  }

  reconnect(): void {
    this.#received = []
    this.server.connections = []
    this.#climber = null
    this.#connection = this.server.connect()
    this.sync()
  }

  /** A better transport takes over once it is subscribed. */
  climb(): void {
    if (this.#climber === null) {
      this.#climber = this.server.connect()
      return this.sync()
    }
    this.server.connections = this.server.connections.filter((connection) => connection !== this.#connection)
    this.#connection = this.#climber
    this.#climber = null
  }

  ask(): void {
    const askedIn = this.#topics.get(this.server.topic)?.epoch ?? null
    // A watch reads one after another; of two overlapping answers with the same cursor nobody can say which is older.
    if (this.#answers.length === 0) this.#answers.push({ cursor: this.server.cursor, askedIn, n: null })
  }

  /** The cursor was read before the data (R8). */
  read(): void {
    const answer = this.#answers.find(({ n }) => n === null)
    if (answer !== undefined) answer.n = this.server.n
  }

  answer(pick: number): void {
    const ready = this.#answers.filter(({ n }) => n !== null)
    const answer = ready[pick % Math.max(1, ready.length)]
    if (answer === undefined) return
    this.#answers = this.#answers.filter((candidate) => candidate !== answer)
    const value = { n: answer.n as number }
    const { cursor, askedIn } = answer
    // The asker is no follower here: everybody who follows the topic is told.
    this.#topics.rest(this.server.topic, { cursor, askedIn, value, hash: hashValue(value), at: 0 }, null)
  }

  receive(pick: number): void {
    const connection = pick % 2 === 1 && this.#climber !== null ? this.#climber : this.#connection
    const next = connection.sent.shift()
    if (next === undefined) return
    this.#received = next.message.type === 'subscribed' ? [] : [...this.#received.slice(-5), next]
    this.#topics.take(next.message, next.asked)
  }

  /** A duplicate of what came on these connections (F16). */
  repeat(pick: number): void {
    const events = this.#received.filter(({ message }) => message.type === 'event')
    const again = events[pick % Math.max(1, events.length)]
    if (again !== undefined) this.#topics.take(again.message, again.asked)
  }
}

const happening = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom<Happening>('write', 'load', 'receive') },
  { weight: 5, arbitrary: fc.constantFrom<Happening>('ask', 'read', 'answer', 'receive') },
  { weight: 2, arbitrary: fc.constantFrom<Happening>('repeat', 'climb', 'reconnect') },
  { weight: 1, arbitrary: fc.constantFrom<Happening>('trim', 'restart') },
)

describe('pushes and REST answers, in any order', () => {
  it('never show a value that is older than one shown before, and end at the newest (R5, R7, R8)', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(happening, fc.nat(5)), { minLength: 20, maxLength: 100, size: 'max' }), (story) => {
        const page = new Page()
        for (const [what, pick] of story) page.do(what, pick)
        page.settle()
        expect(page.shown).toEqual(page.shown.toSorted((a, b) => a - b))
        expect(page.shown.at(-1)).toBe(page.server.n)
        expect(new Set(page.shown).size).toBe(page.shown.length)
      }),
      { numRuns: 3_000 },
    )
  })
})
