import { defaultLimits, type ServerMessage } from '@crossfade/protocol'
import type { Timer } from '../environment.ts'
import type { TransportPort } from './transport.ts'

/**
 * Notices that a connection is dead or lags: the proof must come in time, then something in each two and a half heartbeat intervals
 * (F4), and heartbeats must not come ever later (F6b). Judged by timestamps, since timers sleep with the page (F21).
 */
export class Liveness {
  readonly #port: TransportPort
  readonly #dead: (reason: 'silence' | 'lag') => void
  #timer: Timer | null = null
  #heardAt: number
  #silenceMs: number
  #bestDelayMs = Number.POSITIVE_INFINITY

  constructor(port: TransportPort, dead: (reason: 'silence' | 'lag') => void) {
    this.#port = port
    this.#dead = dead
    this.#heardAt = port.environment.now()
    this.#silenceMs = port.timing.proofMs
    this.#schedule()
  }

  /** The server said how often it beats. */
  follow(heartbeatMs: number): void {
    this.#silenceMs = Math.max(this.#port.timing.proofMs, heartbeatMs * defaultLimits.heartbeatTolerance)
  }

  heard(message: ServerMessage): void {
    this.#heardAt = this.#port.environment.now()
    if (message.type !== 'heartbeat') return
    const delayMs = this.#heardAt - message.at
    this.#bestDelayMs = Math.min(this.#bestDelayMs, delayMs)
    if (delayMs - this.#bestDelayMs > this.#port.timing.lagMs) this.#dead('lag')
  }

  stop(): void {
    if (this.#timer !== null) this.#port.environment.clearTimeout(this.#timer)
    this.#timer = null
  }

  #schedule(): void {
    this.#timer = this.#port.environment.setTimeout(() => this.#check(), Math.min(1_000, this.#silenceMs / 4))
  }

  #check(): void {
    if (this.#port.environment.now() - this.#heardAt > this.#silenceMs) this.#dead('silence')
    else this.#schedule()
  }
}
