import type { PollRequest } from '@crossfade/protocol'
import type { Outlet } from '../connections/outlet.ts'
import type { Batch } from '../delivery/batch.ts'

/** Collects the messages of one poll's answer. */
export class PollOutlet implements Outlet {
  readonly paged = true
  readonly #resumePoints: PollRequest['topics']
  readonly #maxBytes: number
  readonly #onMessage: () => void
  readonly #texts: string[] = []
  #bytes = 0
  #sealed = false
  /** The answer is full: the next poll gets the remainder (R9). */
  more = false

  /** @param resumePoints what the client sent: what it already knows is not repeated (R20). */
  constructor(resumePoints: PollRequest['topics'], maxBytes: number, onMessage: () => void) {
    this.#resumePoints = resumePoints
    this.#maxBytes = maxBytes
    this.#onMessage = onMessage
  }

  get isEmpty(): boolean {
    return this.#texts.length === 0
  }

  send(message: object): void {
    if (!this.#isKnown(message)) this.#push(JSON.stringify(message))
  }

  deliver(batch: Batch): void {
    for (const line of batch.lines) this.#push(line.text)
  }

  get isFull(): boolean {
    return this.#bytes > this.#maxBytes
  }

  congested(): boolean {
    if (this.isFull) this.more = true
    return this.isFull
  }

  waitForCapacity(): Promise<boolean> {
    return Promise.resolve(!this.congested() && !this.#sealed)
  }

  /** The messages as JSON text. No more messages are taken. */
  seal(): string {
    this.#sealed = true
    return `[${this.#texts.join(',')}]`
  }

  #isKnown(message: { type?: string; recovered?: boolean; topic?: string }): boolean {
    if (message.type !== 'subscribed' || message.recovered !== true) return false
    return message.topic !== undefined && this.#resumePoints[message.topic]?.cursor !== undefined
  }

  #push(text: string): void {
    if (this.#sealed) return
    this.#texts.push(text)
    this.#bytes += text.length
    this.#onMessage()
  }
}
