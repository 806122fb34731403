import { CrossfadeError } from '@crossfade/protocol'

/**
 * Whether this process may push.
 *
 * - `open`: the changes of the source reach it.
 * - `starting`: nothing is known of the source yet.
 * - `standby`: another process follows the source, and it is for that one to push.
 * - `off`: the source cannot be followed.
 */
export type PushState = 'open' | 'starting' | 'standby' | 'off'

const standbyRetryMs = 1_000
const offRetryMs = 10_000

/** The one place that says whether this process may push now (PROTOCOL R62). */
export class PushGate {
  readonly #listeners = new Set<(state: PushState, before: PushState) => void>()
  #state: PushState

  constructor(state: PushState) {
    this.#state = state
  }

  get state(): PushState {
    return this.#state
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** This process says nothing about push, neither that it is available nor that it is not: another process may know better. */
  get isSilent(): boolean {
    return this.#state === 'starting' || this.#state === 'standby'
  }

  become(state: PushState): void {
    const before = this.#state
    if (state === before) return
    this.#state = state
    for (const listener of this.#listeners) listener(state, before)
  }

  onChange(listener: (state: PushState, before: PushState) => void): void {
    this.#listeners.add(listener)
  }

  /** Why a client that asks for push is turned away. */
  get refusal(): string {
    return this.#state === 'off'
      ? 'The server cannot follow its database now, so it cannot push. Poll, and try again later.'
      : 'This process stands by for another one, so it cannot push now. Poll, and try again later.'
  }

  /** When a client that was turned away should come back, ms. Another process may accept it immediately. */
  get retryMs(): number {
    return this.#state === 'off' ? offRetryMs : standbyRetryMs
  }

  /** @throws CrossfadeError `overloaded` */
  requireOpen(): void {
    if (!this.isOpen) throw new CrossfadeError('overloaded', this.refusal)
  }
}
