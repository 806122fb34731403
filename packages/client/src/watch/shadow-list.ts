import { hashValue, isUpTo, type EventMessage } from '@crossfade/protocol'
import type { ParityMeter, Pushed } from './parity.ts'

/** How a list takes an event. */
export interface ListOptions<T> {
  readonly append?: ((current: T, event: EventMessage) => T) | undefined
  readonly keys?: ((current: T) => Iterable<string>) | undefined
}

/** What a shadow list needs. */
export interface ShadowListOptions<T> extends ListOptions<T> {
  readonly append: (current: T, event: EventMessage) => T
  /** Compares it with the answers. */
  readonly meter: Pick<ParityMeter, 'begin' | 'pushed' | 'polled'>
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
    if (this.#list !== null) this.#attempt(() => this.#options.meter.polled(hashValue(value)))
    this.#answer = { value, cursor }
    this.#events = this.#events.filter((event) => !isUpTo(event.cursor, cursor))
    if (this.#list === null) this.restart()
  }

  pushed(event: EventMessage): void {
    this.#events.push(event)
    if (this.#events.length > maxEvents) this.#events.shift()
    const current = this.#list
    if (current === null) return
    this.#attempt(() => {
      const value = this.#grown(current.value, event)
      this.#list = { value }
      this.#options.meter.pushed(stateOf(value))
    })
  }

  /** Begins anew from the last answer and what was pushed since. */
  restart(): void {
    const answer = this.#answer
    if (answer === null) return
    this.#attempt(() => {
      // An `append` that changes the list in its place must not change what the page shows.
      let value = structuredClone(answer.value)
      for (const event of this.#events) value = this.#grown(value, event)
      this.#list = { value }
      this.#options.meter.begin(stateOf(value))
    })
  }

  /** Events were lost, or nobody follows: it begins anew with the next answer. */
  clear(): void {
    this.#answer = null
    this.#events = []
    this.#list = null
    this.#options.meter.begin(null)
  }

  #grown(list: T, event: EventMessage): T {
    return isListed(this.#options, list, event) ? list : this.#options.append(list, event)
  }

  #attempt(act: () => void): void {
    try {
      act()
    } catch (error) {
      this.clear()
      this.#options.onError(error)
    }
  }
}

/** Whether the list has the event already. */
export function isListed<T>({ keys }: ListOptions<T>, list: T, event: EventMessage): boolean {
  return event.key !== undefined && keys !== undefined && new Set(keys(list)).has(event.key)
}

/** A hash of a long list for each of many events would cost more than the events: it is made where a poll is compared. */
function stateOf(list: unknown): Pushed {
  return {
    get hash() {
      return hashValue(list)
    },
  }
}
