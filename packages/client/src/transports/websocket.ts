import {
  parseServerMessages,
  paths,
  protocolVersion,
  subprotocol,
  type Hello,
  type Response,
  type ServerMessage,
} from '@crossfade/protocol'
import type { Timer, WebSocketLike } from '../environment.ts'
import type { Asked } from './asked-topics.ts'
import { endOf } from './ends.ts'
import { Liveness } from './liveness.ts'
import type { Call, OpenTransport, Transport, TransportEnd, TransportPort } from './transport.ts'

/** Opens a WebSocket: proved when `hello` and a ping were answered in time. */
export const openWebSocket: OpenTransport = (port) => new WebSocketTransport(port)

/** Of the 100 messages that the server takes at once, before it takes 50 a second (PROTOCOL §8). */
const burst = 80
/** So many calls go this way in a second. The others go by HTTP, where too many are refused and end no connection. */
const callsPerSecond = 20
/** A longer one may be more than the 64 KiB of a message. */
const maxCallChars = 20_000

class WebSocketTransport implements Transport {
  readonly #port: TransportPort
  readonly #liveness: Liveness
  /** By topic, the last `subscribe`. */
  readonly #sent = new Map<string, Asked>()
  /** By topic, the `subscribe` that was answered last: events of the topic belong to it. */
  readonly #begun = new Map<string, Asked>()
  #socket: WebSocketLike | null = null
  #pacing: Timer | null = null
  #greeted = false
  #proved = false
  #pings = 0
  readonly #calls = new Map<string, (answer: Response | null) => void>()
  #callsSince = 0
  #callCount = 0
  #bye: { code: number; retry: number | null } | null = null
  #over = false

  constructor(port: TransportPort) {
    this.#port = port
    this.#liveness = new Liveness(port, () => this.#end({ reason: this.#proved ? 'ws-silent' : 'ws-blocked' }))
    void this.#open()
  }

  sync(): void {
    if (!this.#greeted || this.#over || this.#pacing !== null) return
    const lines = this.#changes()
    this.#send(lines.slice(0, burst))
    if (lines.length <= burst) return
    this.#pacing = this.#port.environment.setTimeout(() => {
      this.#pacing = null
      this.sync()
    }, this.#port.timing.pacingMs)
  }

  renew(token: string | undefined): void {
    if (!this.#over && token !== undefined) this.#send([{ type: 'token', token }])
  }

  test(): void {
    if (!this.#proved || this.#over) return
    this.#liveness.test()
    this.#ping()
  }

  call(call: Call): Promise<Response | null> | null {
    const message = { type: 'request', ...call }
    const now = this.#port.environment.now()
    if (now - this.#callsSince > 1_000) {
      this.#callsSince = now
      this.#callCount = 0
    }
    if (!this.#proved || this.#over || this.#callCount >= callsPerSecond) return null
    if (JSON.stringify(message).length > maxCallChars) return null
    this.#callCount += 1
    return new Promise((resolve) => {
      this.#calls.set(call.id, resolve)
      this.#send([message])
      // A method may take its time; the connection must not.
      this.test()
    })
  }

  close(): void {
    this.#over = true
    this.#liveness.stop()
    for (const answer of this.#calls.values()) answer(null)
    this.#calls.clear()
    this.#port.environment.clearTimeout(this.#pacing)
    const socket = this.#socket
    if (socket === null) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close()
  }

  async #open(): Promise<void> {
    const { environment, base } = this.#port
    if (environment.WebSocket === null) return this.#end({ reason: 'unsupported' })
    try {
      const token = await this.#port.token()
      if (this.#over) return
      const socket = new environment.WebSocket(`${base.replace(/^http/, 'ws')}${paths.websocket}`, [subprotocol])
      this.#socket = socket
      socket.onopen = () => {
        const stagesSince = this.#port.heard()
        this.#send([
          { type: 'hello', protocol: protocolVersion, stagesSince, ...(token === undefined ? {} : { token }) },
        ])
        this.#ping()
      }
      socket.onmessage = ({ data }) => this.#receive(data)
      socket.onclose = ({ code }) => this.#closed(code)
      socket.onerror = () => {}
    } catch {
      this.#end({ reason: 'ws-blocked' })
    }
  }

  #send(lines: readonly object[]): void {
    if (lines.length > 0) this.#socket?.send(lines.map((line) => JSON.stringify(line)).join('\n'))
  }

  #ping(): void {
    this.#send([{ type: 'ping', n: this.#pings++ }])
  }

  /** What must be said so that the server knows what is wanted; remembered as said, as far as one burst goes. */
  #changes(): object[] {
    const lines: object[] = []
    const wanted = new Map([...this.#port.subscriptions()].map((subscription) => [subscription.topic, subscription]))
    const say = (line: object, remember: () => void): void => {
      if (lines.push(line) <= burst) remember()
    }
    for (const [topic, { id }] of this.#sent) {
      if (!wanted.has(topic)) say({ type: 'unsubscribe', id }, () => this.#sent.delete(topic))
    }
    for (const [topic, { id, position, isWaiting }] of wanted) {
      if (isWaiting || this.#sent.get(topic)?.id === id) continue
      const asked: Asked = { id, cursor: position.cursor }
      say({ type: 'subscribe', id, topic, ...position }, () => this.#sent.set(topic, asked))
    }
    return lines
  }

  #receive(data: unknown): void {
    let messages: ServerMessage[]
    try {
      messages = parseServerMessages(String(data))
    } catch {
      return this.#end({ reason: 'ws-blocked' })
    }
    for (const message of messages) {
      if (this.#over) return
      this.#liveness.heard(message)
      this.#take(message)
    }
  }

  #take(message: ServerMessage): void {
    if (message.type === 'hello') this.#greet(message)
    else if (message.type === 'bye') this.#bye = message
    else if (message.type === 'heartbeat') this.#prove()
    else if (message.type === 'response') this.#answer(message)
    else this.#port.message(message, this.#askedBy(message))
  }

  #answer(message: Response): void {
    this.#calls.get(message.id)?.(message)
    this.#calls.delete(message.id)
  }

  #askedBy(message: ServerMessage): Asked | undefined {
    if (!('topic' in message) || message.topic === undefined) return undefined
    const id = 'id' in message ? message.id : undefined
    if (id === undefined) return this.#begun.get(message.topic)
    const asked = this.#sent.get(message.topic)
    if (asked?.id !== id) return undefined
    if (message.type === 'subscribed') this.#begun.set(message.topic, asked)
    return asked
  }

  #greet(hello: Hello): void {
    this.#greeted = true
    this.#liveness.follow(hello.heartbeat)
    this.sync()
  }

  #prove(): void {
    if (this.#proved || !this.#greeted) return
    this.#proved = true
    this.#liveness.prove()
    this.#port.proved()
  }

  #closed(code: number): void {
    const end = endOf(this.#bye ?? { code, retry: 0 })
    if (this.#bye !== null || end.reason !== 'closed') this.#end(end)
    else this.#end({ reason: this.#proved ? 'closed' : 'ws-blocked' })
  }

  #end(end: TransportEnd): void {
    if (this.#over) return
    this.close()
    this.#port.ended(end)
  }
}
