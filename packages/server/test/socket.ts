import { parseServerMessages, subprotocol, type ClientMessage, type ServerMessage } from '@crossfade/protocol'
import { WebSocket, type ClientOptions } from 'ws'

type Waiter = { matches: (message: ServerMessage) => boolean; resolve: (message: ServerMessage) => void }

/** A bare WebSocket client that records every message, so that a test misses none. */
export class Socket {
  readonly messages: ServerMessage[] = []
  readonly raw: WebSocket
  readonly closed: Promise<{ code: number; reason: string }>
  #read = 0
  #waiters: Waiter[] = []

  constructor(raw: WebSocket) {
    this.raw = raw
    this.closed = new Promise((resolve) =>
      raw.once('close', (code, reason) => resolve({ code, reason: String(reason) })),
    )
    raw.on('error', () => {})
    raw.on('message', (data) => {
      for (const message of parseServerMessages((data as Buffer).toString())) this.messages.push(message)
      this.#serve()
    })
  }

  static async open(
    origin: string,
    options: ClientOptions & { path?: string; protocols?: string[] } = {},
  ): Promise<Socket> {
    const url = `${origin.replace('http', 'ws')}${options.path ?? '/crossfade/ws'}`
    const socket = new Socket(new WebSocket(url, options.protocols ?? [subprotocol], options))
    await new Promise<void>((resolve, reject) => {
      socket.raw.once('open', resolve)
      socket.raw.once('error', reject)
    })
    return socket
  }

  /** Opens and says hello. */
  static async greet(origin: string, token?: string, options: ClientOptions = {}): Promise<Socket> {
    const socket = await Socket.open(origin, options)
    socket.send({ type: 'hello', protocol: 1, ...(token === undefined ? {} : { token }) })
    await socket.next('hello')
    return socket
  }

  send(...messages: (ClientMessage | object)[]): void {
    this.raw.send(messages.map((message) => JSON.stringify(message)).join('\n'))
  }

  /** The next message of a type that was not read yet, or comes. */
  async next<Type extends ServerMessage['type']>(type: Type): Promise<Extract<ServerMessage, { type: Type }>> {
    const message = await new Promise<ServerMessage>((resolve) => {
      this.#waiters.push({ matches: (candidate) => candidate.type === type, resolve })
      this.#serve()
    })
    return message as Extract<ServerMessage, { type: Type }>
  }

  close(): void {
    this.raw.terminate()
  }

  #serve(): void {
    for (;;) {
      const waiter = this.#waiters[0]
      if (!waiter) return
      const at = this.messages.findIndex((message, index) => index >= this.#read && waiter.matches(message))
      if (at === -1) return
      this.#read = at + 1
      this.#waiters.shift()
      waiter.resolve(this.messages[at] as ServerMessage)
    }
  }
}
