import { hashValue, isUpTo, type EventMessage } from '@crossfade/protocol'
import type { Pushed } from './parity.ts'

/** How a list grows by an event. */
export interface Growth<T> {
  readonly append?: ((current: T, event: EventMessage) => T) | undefined
  readonly keys?: ((current: T) => Iterable<string>) | undefined
}

/** What a shadow list tells. */
export interface ShadowListOptions<T> extends Growth<T> {
  readonly append: (current: T, event: EventMessage) => T
  /** It begins anew; `null`: with the next answer. */
  readonly begin: (list: Pushed | null) => void
  /** It has grown. */
  readonly pushed: (list: Pushed) => void
  /** A poll answered this. */
  readonly polled: (list: Pushed) => void
  readonly onError: (error: unknown) => void
}

/** More events than this are not kept for beginning anew. */
const maxEvents = 1_000

/** The list of a log topic as push would show it (stage `shadow`): a poll's answer and the events since. The page never sees it. */
export class ShadowList<T> {
  readonly #options: ShadowListOptions<T>
  #answer: { readonly value: T; readonly cursor: string } | null = null
  /** Those that the last answer may be without. */
  #events: EventMessage[] = []
  #list: { readonly value: T } | null = null

  constructor(options: ShadowListOptions<T>) {
    this.#options = options
  }

  /** A poll answered this, and the page shows it. The first answer is what the list begins with. */
  answered(value: T, cursor: string): void {
    if (this.#list !== null) this.#attempt((list) => this.#options.polled(stateOf(list)), value)
    this.#answer = { value, cursor }
    this.#events = this.#events.filter((event) => !isUpTo(event.cursor, cursor))
    if (this.#list === null) this.restart()
  }

  pushed(event: EventMessage): void {
    this.#events.push(event)
    if (this.#events.length > maxEvents) this.#events.shift()
    if (this.#list === null) return
    this.#attempt(({ value }) => {
      const list = this.#grown(value, event)
      this.#list = { value: list }
      this.#options.pushed(stateOf(list))
    }, this.#list)
  }

  /** Begins anew from the last answer and what was pushed since. */
  restart(): void {
    if (this.#answer === null) return
    this.#attempt(({ value }) => {
      // An `append` that changes the list in its place must not change what the page shows.
      let list = structuredClone(value)
      for (const event of this.#events) list = this.#grown(list, event)
      this.#list = { value: list }
      this.#options.begin(stateOf(list))
    }, this.#answer)
  }

  /** Events were lost, or nobody follows: it begins anew with the next answer. */
  clear(): void {
    this.#answer = null
    this.#events = []
    this.#list = null
    this.#options.begin(null)
  }

  #grown(list: T, event: EventMessage): T {
    return isListed(this.#options, list, event) ? list : this.#options.append(list, event)
  }

  #attempt<Subject>(act: (subject: Subject) => void, subject: Subject): void {
    try {
      act(subject)
    } catch (error) {
      this.clear()
      this.#options.onError(error)
    }
  }
}

/** Whether the list has the event already. */
export function isListed<T>({ keys }: Growth<T>, list: T, event: EventMessage): boolean {
  return event.key !== undefined && keys !== undefined && new Set(keys(list)).has(event.key)
}

/** A hash of a long list for each of many events would cost more than the events. */
function stateOf(list: unknown): Pushed {
  let hash: string | null = null
  return {
    get hash() {
      return (hash ??= hashValue(list))
    },
  }
}
