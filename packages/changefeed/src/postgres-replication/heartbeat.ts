import type { Lsn } from './lsn.ts'

/** What a {@link Heartbeat} needs of its session. */
export interface HeartbeatPort {
  /** Sends a beat through the database's log. */
  send(content: string): Promise<Lsn>
  /** The log is now known to reach up to here. */
  reached(lsn: Lsn): void
  /** Nothing is read from the stream, because the sink is behind. */
  isPaused(): boolean
  /** The connection counts as dead: nothing was received for too long, or a beat could not be sent. */
  dead(reason: Error): void
}

const silentBeats = 3
/** The shortest silence that counts, ms, however frequent the beats: a busy machine needs time. */
const minSilenceMs = 2_000

/**
 * A message that travels through the log itself: it shows that changes would arrive, and how late, and lets the slot of an idle
 * database advance.
 */
export class Heartbeat {
  readonly #port: HeartbeatPort
  readonly #name: string
  readonly #everyMs: number
  #timer: NodeJS.Timeout | null = null
  #count = 0
  #sentAt: number | null = null
  /** Beats since something was received. Counted in beats, not in ms, so that a process that was suspended reads its socket before it judges. */
  #silent = 0
  #heardAt: number = performance.now()

  /** @param name distinguishes these beats from those of other feeds. */
  constructor(name: string, everyMs: number, port: HeartbeatPort) {
    this.#port = port
    this.#name = name
    this.#everyMs = everyMs
  }

  /** Age of a beat that has not come back, ms. */
  get lagMs(): number {
    return this.#sentAt === null ? 0 : performance.now() - this.#sentAt
  }

  /** Something arrived through the stream. */
  heard(): void {
    this.#silent = 0
    this.#heardAt = performance.now()
  }

  /** A beat came back. */
  returned(content: string): void {
    if (content === this.#content) this.#sentAt = null
  }

  start(): void {
    this.heard()
    this.#timer = setInterval(() => this.#beat(), this.#everyMs)
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  get #content(): string {
    return `${this.#name} ${this.#count}`
  }

  #beat(): void {
    if (this.#port.isPaused()) this.heard()
    else this.#silent += 1
    const silenceMs = Math.round(performance.now() - this.#heardAt)
    if (this.#silent > silentBeats && silenceMs > minSilenceMs) {
      this.#port.dead(new Error(`nothing came through the replication stream for ${silenceMs} ms`))
      return
    }
    // One beat under way is enough.
    if (this.#sentAt === null) void this.#send()
  }

  async #send(): Promise<void> {
    this.#sentAt = performance.now()
    this.#count += 1
    try {
      this.#port.reached(await this.#port.send(this.#content))
    } catch (error) {
      this.#port.dead(error as Error)
    }
  }
}
