import type { ServerMessage } from '@crossfade/protocol'
import type { Timer } from '../environment.ts'
import type { TransportPort } from './transport.ts'

/** The heartbeat interval until `hello` says it (PROTOCOL §8). */
const defaultHeartbeatMs = 15_000
/** This many silent intervals mean death. */
const tolerance = 2.5
/** A timer that comes later than this woke from sleep with the page. */
const lateMs = 1_000
/** What waited in the socket meanwhile is read within this time. */
const graceMs = 2_000

/**
 * Notices that a connection is dead or lags: the proof must come in time, then something in each two and a half heartbeat
 * intervals, and heartbeats must not come ever later. Judged by timestamps, since timers sleep with the page.
 */
export class Liveness {
  readonly #port: TransportPort
  readonly #dead: (reason: 'silence' | 'lag') => void
  #timer: Timer | null = null
  #deadline: number
  #silenceMs: number = defaultHeartbeatMs * tolerance
  #proved = false
  #bestDelayMs = Number.POSITIVE_INFINITY
  #laggedAt: number | null = null

  constructor(port: TransportPort, dead: (reason: 'silence' | 'lag') => void) {
    this.#port = port
    this.#dead = dead
    this.#deadline = port.environment.now() + port.timing.proofMs
    this.#schedule()
  }

  /** The server said how often it beats. */
  follow(heartbeatMs: number): void {
    if (heartbeatMs > 0) this.#silenceMs = heartbeatMs * tolerance
  }

  /** It works: from now on anything heard counts. */
  prove(): void {
    this.#proved = true
    this.#hear(this.#port.environment.now())
    this.#schedule()
  }

  heard(message: ServerMessage): void {
    const now = this.#port.environment.now()
    if (this.#proved) this.#hear(now)
    if (message.type === 'heartbeat') this.#compare(now - message.at, now)
  }

  /** Something was asked: the answer must come as soon as a proof. */
  test(): void {
    this.#deadline = Math.min(this.#deadline, this.#port.environment.now() + this.#port.timing.proofMs)
    this.#schedule()
  }

  stop(): void {
    this.#port.environment.clearTimeout(this.#timer)
  }

  #hear(now: number): void {
    this.#deadline = now + this.#silenceMs
  }

  /** One late heartbeat may have waited while the page slept. One more, later on, came through something that holds them back. */
  #compare(delayMs: number, now: number): void {
    this.#bestDelayMs = Math.min(this.#bestDelayMs, delayMs)
    if (delayMs - this.#bestDelayMs <= this.#port.timing.lagMs) this.#laggedAt = null
    else if (this.#laggedAt === null) this.#laggedAt = now
    else if (now - this.#laggedAt > lateMs) this.#dead('lag')
  }

  #schedule(): void {
    this.stop()
    const dueAt = this.#deadline + 1
    const { environment } = this.#port
    this.#timer = environment.setTimeout(() => this.#check(dueAt), Math.max(0, dueAt - environment.now()))
  }

  #check(dueAt: number): void {
    const now = this.#port.environment.now()
    if (now > this.#deadline && now - dueAt > lateMs) this.#deadline = now + graceMs
    if (now > this.#deadline) this.#dead('silence')
    else this.#schedule()
  }
}
