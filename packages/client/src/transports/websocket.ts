import {
  closeRule,
  parseServerMessages,
  paths,
  protocolVersion,
  subprotocol,
  type Hello,
  type ServerMessage,
} from '@crossfade/protocol'
import { Liveness } from './liveness.ts'
import type { EndReason, OpenTransport, Transport, TransportEnd, TransportPort } from './transport.ts'
import type { WebSocketLike } from '../environment.ts'

/** Opens a WebSocket: proved when `hello` and a ping were answered in time (F2, F4). */
export const openWebSocket: OpenTransport = (port) => new WebSocketTransport(port)

class WebSocketTransport implements Transport {
  readonly #port: TransportPort
  readonly #liveness: Liveness
  readonly #sent = new Map<string, string>()
  #socket: WebSocketLike | null = null
  #greeted = false
  #proved = false
  #bye: { code: number; retry: number | null } | null = null
  #over = false

  constructor(port: TransportPort) {
    this.#port = port
    this.#liveness = new Liveness(port, (reason) =>
      this.#end({ reason: reason === 'lag' ? 'ws-silent' : this.#proved ? 'ws-silent' : 'ws-blocked' }),
    )
    void this.#open()
  }

  sync(): void {
    if (!this.#greeted || this.#over) return
    const lines: object[] = []
    const wanted = new Map([...this.#port.subscriptions()].map((subscription) => [subscription.topic, subscription]))
    for (const [topic, id] of this.#sent) {
      if (wanted.has(topic)) continue
      this.#sent.delete(topic)
      lines.push({ type: 'unsubscribe', id })
    }
    for (const [topic, subscription] of wanted) {
      if (this.#sent.get(topic) === subscription.id) continue
      this.#sent.set(topic, subscription.id)
      lines.push({ type: 'subscribe', id: subscription.id, topic, ...subscription.position })
    }
    if (lines.length > 0) this.#socket?.send(lines.map((line) => JSON.stringify(line)).join('\n'))
  }

  close(): void {
    this.#over = true
    this.#liveness.stop()
    const socket = this.#socket
    if (socket === null) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.onerror = () => {}
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
        const hello = { type: 'hello', protocol: protocolVersion, ...(token === undefined ? {} : { token }) }
        socket.send(`${JSON.stringify(hello)}\n${JSON.stringify({ type: 'ping', n: 0 })}`)
      }
      socket.onmessage = ({ data }) => this.#receive(data)
      socket.onclose = ({ code }) => this.#closed(code)
      socket.onerror = () => {}
    } catch {
      this.#end({ reason: 'ws-blocked' })
    }
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
      if (message.type === 'hello') this.#greet(message)
      else if (message.type === 'bye') this.#bye = message
      else {
        if (message.type === 'heartbeat' && !this.#proved) {
          this.#proved = true
          this.#port.proved()
        }
        this.#port.message(message)
      }
    }
  }

  #greet(hello: Hello): void {
    this.#greeted = true
    this.#liveness.follow(hello.heartbeat)
    this.sync()
  }

  #closed(code: number): void {
    const rule = closeRule(this.#bye?.code ?? code)
    if (rule.retry === 'refresh') return this.#end({ reason: 'auth' })
    if (rule.retry === 'no') return this.#end({ reason: 'refused', retryMs: null })
    if (this.#bye !== null) return this.#end({ reason: 'closed', retryMs: this.#bye.retry })
    const reason: EndReason = this.#proved ? 'closed' : 'ws-blocked'
    return this.#end({ reason })
  }

  #end(end: TransportEnd): void {
    if (this.#over) return
    this.close()
    this.#port.ended(end)
  }
}
