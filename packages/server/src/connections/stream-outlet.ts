import type { Writable } from 'node:stream'
import type { Batch } from '../delivery/batch.ts'
import type { FlushCycle, Flushable } from '../delivery/flush-cycle.ts'
import type { Outlet } from './outlet.ts'

/** How one transport writes bytes. */
export interface StreamPort {
  /** The socket or answer. Its own buffer is part of the outbox. */
  readonly stream: Writable
  encode(message: object): Buffer
  bytesOf(batch: Batch): Buffer
  /** The outbox is over its bound. */
  overflow(): void
  /** The outbox was written: value topics may continue. */
  drained(): void
}

/**
 * The bounded outbox of a WebSocket or SSE connection: collects the buffers of a tick and writes them at its end. What the kernel
 * does not take stays in the stream's buffer, and both together are bounded in bytes.
 */
export class StreamOutlet implements Outlet, Flushable {
  readonly paged = false
  readonly #port: StreamPort
  readonly #cycle: FlushCycle
  readonly #maxBytes: number
  #queue: Buffer[] = []
  #queuedBytes = 0
  /** An upper bound of the bytes of this connection's own messages that are waiting. */
  #ownBytes = 0
  /** A topic was told that there is no room. */
  #blocked = false
  #waiters: ((room: boolean) => void)[] = []
  #closed = false
  /** When something was last written, for heartbeats. */
  lastWriteAt: number = performance.now()

  constructor(port: StreamPort, cycle: FlushCycle, maxBytes: number) {
    this.#port = port
    this.#cycle = cycle
    this.#maxBytes = maxBytes
    port.stream.on('drain', this.#onDrain)
  }

  readonly #onDrain = (): void => this.#resume()

  /** Bytes that are waiting for the client. */
  get waitingBytes(): number {
    return this.#queuedBytes + this.#port.stream.writableLength
  }

  send(message: object): void {
    if (this.#closed) return
    const bytes = this.#port.encode(message)
    // Bytes that the client has taken no longer wait: its own messages are at most all that is waiting.
    this.#ownBytes = Math.min(this.#ownBytes, this.waitingBytes) + bytes.length
    // Answers to a client that sends requests and does not read would fill the memory just as events would.
    if (this.#ownBytes > this.#maxBytes) this.#port.overflow()
    else this.#push(bytes)
  }

  /** Writes a last message after those that are waiting. Nothing is written after it. */
  finish(message: object): void {
    this.#push(this.#port.encode(message))
    this.flush()
    this.close()
  }

  deliver(batch: Batch, bounded: boolean): void {
    if (this.#closed) return
    const bytes = this.#port.bytesOf(batch)
    const waiting = this.waitingBytes
    if (bounded && waiting > 0 && waiting + bytes.length > this.#maxBytes) this.#port.overflow()
    else this.#push(bytes)
  }

  congested(): boolean {
    const congested = this.waitingBytes > this.#maxBytes / 4
    if (congested) this.#blocked = true
    return congested
  }

  async waitForCapacity(): Promise<boolean> {
    if (this.#closed) return false
    if (!this.congested()) return true
    return new Promise((resolve) => this.#waiters.push(resolve))
  }

  flush(): void {
    const queue = this.#queue
    if (queue.length === 0 || this.#closed) return
    const { stream } = this.#port
    this.#queue = []
    this.#queuedBytes = 0
    this.lastWriteAt = performance.now()
    const [only] = queue
    if (queue.length === 1 && only) stream.write(only)
    else {
      stream.cork()
      for (const bytes of queue) stream.write(bytes)
      stream.uncork()
    }
    // The queue alone never makes the stream emit `drain`.
    this.#resume()
  }

  /** Drops what is waiting; nothing more is written. */
  close(): void {
    this.#closed = true
    // The socket may carry another answer after this one.
    this.#port.stream.off('drain', this.#onDrain)
    this.#queue = []
    this.#queuedBytes = 0
    for (const resolve of this.#waiters.splice(0)) resolve(false)
  }

  #push(bytes: Buffer): void {
    if (this.#closed) return
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
    this.#cycle.connection(this)
  }

  #resume(): void {
    if (!this.#blocked || this.#closed || this.congested()) return
    this.#blocked = false
    for (const resolve of this.#waiters.splice(0)) resolve(true)
    this.#port.drained()
  }
}
