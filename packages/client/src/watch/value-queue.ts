import { CrossfadeError, isUpTo, type EventMessage } from '@crossfade/protocol'
import type { TransportName } from '../transports/transport.ts'
import { isListed, type ListOptions } from './shadow-list.ts'
import { jsonOf } from '../json-of.ts'

/** Where a shown value came from. */
export interface WatchInfo {
  readonly source: 'poll' | 'push'
  /** What brought it; `endpoint`: the application's own. */
  readonly transport: TransportName | 'endpoint'
  /** When the change was committed, or the answer came, ms since 1970. */
  readonly at: number
  readonly cursor: string | null
}

/** What the page gave for showing. */
export interface ValueQueueOptions<T> extends ListOptions<T> {
  readonly read?: ((response: Response) => T | Promise<T>) | undefined
  readonly onValue: (value: T, info: WatchInfo) => void
  readonly onError: (error: unknown) => void
}

/** What the page shows: values are read in the order in which they came, also when `read` is slow, and events are appended to the list. */
export class ValueQueue<T> {
  readonly #options: ValueQueueOptions<T>
  #showing: Promise<void> = Promise.resolve()
  #current: { readonly value: T } | null = null
  #cursor: string | null = null
  #stopped = false

  constructor(options: ValueQueueOptions<T>) {
    this.#options = options
  }

  /** Of the last list or event that is shown or will be. */
  get cursor(): string | null {
    return this.#cursor
  }

  /** Shows what an answer holds. */
  show(response: Response, info: WatchInfo): void {
    if (info.cursor !== null) this.#cursor = info.cursor
    this.#enqueue(async () => {
      const value = await this.#read(response)
      if (this.#stopped) return
      this.#current = { value }
      this.#options.onValue(value, info)
    })
  }

  /** Appends an event to the list, unless the list has it. */
  append(event: EventMessage, info: WatchInfo): void {
    if (this.#cursor !== null && isUpTo(event.cursor, this.#cursor)) return
    this.#cursor = event.cursor
    this.#enqueue(async () => {
      const { append } = this.#options
      if (append === undefined || this.#current === null || this.#stopped) return
      const { value } = this.#current
      if (isListed(this.#options, value, event)) return
      const next = append(value, event)
      this.#current = { value: next }
      this.#options.onValue(next, info)
    })
  }

  /** Whether an answer was read before what is shown (same epoch only). */
  isOld(cursor: string): boolean {
    return this.#cursor !== null && cursor !== this.#cursor && isUpTo(cursor, this.#cursor)
  }

  stop(): void {
    this.#stopped = true
  }

  async #read(response: Response): Promise<T> {
    const { read } = this.#options
    if (read !== undefined) return read(response)
    if (response.ok) return (await jsonOf(response)) as T
    throw new CrossfadeError('endpoint_failed', `${response.url} answered ${response.status}.`)
  }

  #enqueue(task: () => Promise<void>): void {
    this.#showing = this.#showing.then(task).catch((error: unknown) => {
      if (!this.#stopped) this.#options.onError(error)
    })
  }
}
