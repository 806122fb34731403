import { encodeSse } from '@crossfade/protocol'
import { eventBytes, type EventBytes } from './event-bytes.ts'
import { textFrame } from './text-frame.ts'

/** One message on the wire: JSON text on one line, and the cursor when it is an event. */
export interface Line {
  readonly text: string
  readonly cursor?: string
}

/**
 * Messages that many subscribers get in one write. The bytes of each transport's form are produced when the first subscriber needs
 * them and shared by all others (DESIGN §3.4).
 */
export class Batch {
  readonly lines: readonly Line[]
  #websocket: Buffer | null = null
  #sse: EventBytes | null = null
  #sseWithIds: EventBytes | null = null

  constructor(lines: readonly Line[]) {
    this.lines = lines
  }

  /** One WebSocket text frame, one message per line (R30). */
  get websocket(): Buffer {
    this.#websocket ??= textFrame(this.lines.map((line) => line.text).join('\n'))
    return this.#websocket
  }

  /** Server-Sent Events without ids, for a stream of many topics. */
  get sse(): EventBytes {
    this.#sse ??= eventBytes(this.lines.map((line) => encodeSse(line.text)).join(''))
    return this.#sse
  }

  /** Server-Sent Events whose `id:` is the event's cursor, for a stream of one topic (R13). */
  get sseWithIds(): EventBytes {
    this.#sseWithIds ??= eventBytes(
      this.lines.map((line) => encodeSse(line.text, line.cursor === undefined ? {} : { id: line.cursor })).join(''),
    )
    return this.#sseWithIds
  }
}
