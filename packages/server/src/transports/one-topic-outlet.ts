import { closeCodes, type ErrorCode, type ServerMessage, type UnsubscribedCode } from '@crossfade/protocol'
import type { Outlet } from '../connections/outlet.ts'
import type { Batch } from '../delivery/batch.ts'

/** How a stream whose only topic has ended is closed: the code, and when to come back, ms; `null`: not at all. */
export interface TopicEnd {
  readonly code: number
  readonly retry: number | null
}

/** The outlet of a stream of one topic: when that is refused or ends, nothing is left to wait for, and the stream ends (R13). */
export class OneTopicOutlet implements Outlet {
  readonly #outlet: Outlet
  readonly #ended: (end: TopicEnd) => void

  constructor(outlet: Outlet, ended: (end: TopicEnd) => void) {
    this.#outlet = outlet
    this.#ended = ended
  }

  get paged(): boolean {
    return this.#outlet.paged
  }

  send(message: object): void {
    this.#outlet.send(message)
    const end = endOf(message as ServerMessage)
    if (end !== null) this.#ended(end)
  }

  deliver(batch: Batch, bounded: boolean): void {
    this.#outlet.deliver(batch, bounded)
  }

  congested(): boolean {
    return this.#outlet.congested()
  }

  waitForCapacity(): Promise<boolean> {
    return this.#outlet.waitForCapacity()
  }
}

const forbidden: TopicEnd = { code: closeCodes.forbidden, retry: null }
const expired: TopicEnd = { code: closeCodes.expired, retry: 0 }

const passing: Partial<Readonly<Record<ErrorCode | UnsubscribedCode, TopicEnd>>> = {
  expired,
  unauthenticated: expired,
  server_error: { code: closeCodes.serverError, retry: 1_000 },
  overloaded: { code: closeCodes.overloaded, retry: 1_000 },
  too_fast: { code: closeCodes.tooManyConnections, retry: 5_000 },
}

function endOf(message: ServerMessage): TopicEnd | null {
  return message.type === 'error' || message.type === 'unsubscribed' ? (passing[message.code] ?? forbidden) : null
}
