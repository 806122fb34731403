import type { Duplex } from 'node:stream'
import {
  closeCodes,
  CrossfadeError,
  parseClientMessages,
  protocolVersion,
  validateClientMessage,
  type ClientHello,
  type ClientMessage,
  type Token,
} from '@crossfade/protocol'
import type { FastifyRequest } from 'fastify'
import type { RawData, WebSocket } from 'ws'
import { addressOf } from '../connections/client-address.ts'
import { expireWith } from '../connections/expiry.ts'
import { Session } from '../connections/session.ts'
import { StreamOutlet } from '../connections/stream-outlet.ts'
import { TokenBucket } from '../connections/token-bucket.ts'
import { pendingStageMessages } from '../rollout/stage-messages.ts'
import type { TransportContext } from './context.ts'
import { hello } from './hello.ts'
import { identify } from './identify.ts'
import { textFrame } from '../delivery/text-frame.ts'

/**
 * One WebSocket connection: `connected → (hello) → greeting → open → closed`.
 *
 * Messages of one connection take effect in order (R33): those that come while a `hello` or a `token` is being verified wait for it.
 */
export class WebSocketClient {
  readonly #context: TransportContext
  readonly #socket: WebSocket
  readonly #request: FastifyRequest
  readonly #outlet: StreamOutlet
  readonly #bucket: TokenBucket
  readonly #cleanups: (() => void)[] = []
  #cancelExpiry: () => void = () => {}
  #releaseUnknown: () => void = () => {}
  #session: Session | null = null
  /** Messages behind a `hello` or a `token` that is being verified; `null`: none is. */
  #waiting: ClientMessage[] | null = null
  #alive = true

  constructor(context: TransportContext, socket: WebSocket, stream: Duplex, request: FastifyRequest) {
    this.#context = context
    this.#socket = socket
    this.#request = request
    this.#bucket = new TokenBucket(context.limits.messagesPerSecond, context.limits.messageBurst)
    this.#outlet = new StreamOutlet(
      {
        stream,
        encode: (message) => textFrame(JSON.stringify(message)),
        bytesOf: (batch) => batch.websocket,
        overflow: () => this.#bye(closeCodes.tooSlow, 'You read too slowly. Reconnect with your cursors.', 0),
        drained: () => this.#session?.drained(),
      },
      context.cycle,
      context.limits.maxOutboxBytes,
    )
  }

  /** Starts listening; a client that does not send `hello` in time is closed (R32). */
  start(): void {
    const { limits } = this.#context
    this.#socket.on('message', (data, isBinary) => this.#onFrame(data, isBinary))
    for (const control of ['ping', 'pong'] as const) this.#socket.on(control, () => this.#onControl())
    this.#socket.on('close', () => this.#end())
    const deadline = setTimeout(
      () => this.#bye(closeCodes.timeout, `No hello came within ${limits.helloMs} ms.`, 0),
      limits.helloMs,
    )
    this.#cleanups.push(() => clearTimeout(deadline))
    try {
      this.#context.proxyDetector.examine(this.#request, this.#context.connections.size)
      this.#releaseUnknown = this.#context.counter.acquireUnknown(addressOf(this.#request))
      this.#cleanups.push(this.#releaseUnknown)
    } catch {
      this.#bye(closeCodes.tooManyConnections, 'Too many connections come from your address.', 5_000)
    }
  }

  #onFrame(data: RawData, isBinary: boolean): void {
    this.#alive = true
    if (isBinary) {
      // Nothing may follow a close frame (RFC 6455 §5.5.1).
      this.#outlet.close()
      this.#socket.close(closeCodes.invalidData, 'Messages are text.')
      return
    }
    let messages: ClientMessage[]
    try {
      messages = parseClientMessages(textOf(data))
    } catch (error) {
      this.#bye(closeCodes.malformed, error instanceof CrossfadeError ? error.message : 'The frame is malformed.', null)
      return
    }
    // A frame of unknown, newer messages costs as much to read.
    if (messages.length === 0) this.#isWithinRate()
    for (const message of messages) this.#onMessage(message)
  }

  /** Every ping of a client is answered below this layer, so it counts as a message. */
  #onControl(): void {
    this.#alive = true
    this.#isWithinRate()
  }

  /** Counts something that the client sent; a flood is closed with 4414. */
  #isWithinRate(): boolean {
    if (this.#bucket.take()) return true
    this.#bye(closeCodes.tooMany, `More than ${this.#context.limits.messagesPerSecond} messages a second.`, 5_000)
    return false
  }

  #onMessage(message: ClientMessage): void {
    if (!this.#isOpen) return
    if (!this.#isWithinRate()) return
    if (this.#waiting !== null) this.#wait(this.#waiting, message)
    else if (this.#session !== null) this.#handle(this.#session, message)
    else if (message.type === 'hello') void this.#greet(message)
    else this.#bye(closeCodes.malformed, `The first message must be hello, not ${message.type}.`, null)
  }

  #wait(waiting: ClientMessage[], message: ClientMessage): void {
    if (waiting.push(message) > this.#context.limits.messageBurst)
      this.#bye(closeCodes.tooMany, 'Too many messages are waiting for your credentials to be verified.', 5_000)
  }

  /** The waiting messages take effect, up to the next one that the others must wait for. */
  #handleWaiting(session: Session): void {
    const messages = this.#waiting ?? []
    this.#waiting = null
    for (const message of messages) {
      if (this.#waiting === null) this.#handle(session, message)
      else this.#wait(this.#waiting, message)
    }
  }

  async #greet(greeting: ClientHello): Promise<void> {
    this.#waiting = []
    const { limits } = this.#context
    try {
      validateClientMessage(greeting)
      if (greeting.protocol !== protocolVersion)
        throw new CrossfadeError(
          'unsupported_version',
          `Version ${greeting.protocol} is not supported here, version ${protocolVersion} is.`,
        )
      const identity = await identify(this.#context, this.#request, greeting.token)
      if (!this.#isOpen) return
      this.#cleanups.push(this.#context.counter.acquire(identity, addressOf(this.#request)))
      this.#releaseUnknown()
      const { session, gate } = this.#context
      const turnAway = (): void => this.#bye(closeCodes.overloaded, gate.refusal, gate.retryMs)
      this.#open(new Session(session, identity, this.#outlet, limits.maxTopicsPerConnection, turnAway), greeting)
    } catch (error) {
      this.#refuseHello(error)
    }
  }

  #open(session: Session, { stagesSince }: ClientHello): void {
    const { connections, heartbeats, limits } = this.#context
    this.#session = session
    this.#cleanups[0]?.()
    this.#outlet.send(hello(limits, session.identity))
    for (const message of pendingStageMessages(this.#context, stagesSince)) this.#outlet.send(message)
    this.#expireWithIdentity(session)
    const outlet = this.#outlet
    this.#cleanups.push(
      () => this.#cancelExpiry(),
      connections.add({
        tell: (message) => this.#outlet.send(message),
        bye: (code, message, retry) => this.#bye(code, message, retry),
      }),
      heartbeats.add({
        get lastWriteAt() {
          return outlet.lastWriteAt
        },
        beat: (message, idle) => this.#beat(message, idle),
      }),
    )
    this.#handleWaiting(session)
  }

  #refuseHello(error: unknown): void {
    const message = error instanceof Error ? error.message : 'The hello was not accepted.'
    const code = error instanceof CrossfadeError ? error.code : 'server_error'
    if (code === 'unauthenticated') this.#bye(closeCodes.unauthenticated, message, 0)
    else if (code === 'too_fast') this.#bye(closeCodes.tooManyConnections, message, 5_000)
    else if (code === 'server_error') this.#bye(closeCodes.serverError, 'The server failed. Try again later.', 1_000)
    else if (code === 'unsupported_version') this.#bye(closeCodes.unsupportedVersion, message, null)
    else if (code === 'too_large') this.#bye(closeCodes.tokenTooLarge, message, null)
    else this.#bye(closeCodes.malformed, message, null)
  }

  #handle(session: Session, message: ClientMessage): void {
    try {
      validateClientMessage(message)
    } catch (error) {
      const { topic, id } = message as { topic?: unknown; id?: unknown }
      session.refuse(error, typeof topic === 'string' ? topic : undefined, typeof id === 'string' ? id : undefined)
      return
    }
    switch (message.type) {
      case 'subscribe':
        void session.subscribe(message)
        break
      case 'unsubscribe':
        session.unsubscribe(message.id)
        break
      case 'ping':
        this.#outlet.send({ type: 'heartbeat', at: Date.now(), n: message.n })
        break
      case 'token':
        void this.#renew(session, message)
        break
      case 'request':
        void this.#call(session, message)
        break
      case 'hello':
        session.refuse(new CrossfadeError('malformed', 'This connection has already sent a hello.'))
        break
    }
  }

  /** A new token of the same principal replaces the old one; subscriptions go on (R53). */
  async #renew(session: Session, { token, id }: Token): Promise<void> {
    this.#waiting = []
    try {
      const identity = await identify(this.#context, this.#request, token)
      if (identity.principal?.id !== session.identity.principal?.id) {
        throw new CrossfadeError('forbidden', 'The new token belongs to another account. Open a new connection for it.')
      }
      const before = session.identity.principal?.expiresAt
      session.renew(identity)
      // The same token again is not a reason to ask for another one immediately.
      if (identity.principal?.expiresAt !== before) this.#expireWithIdentity(session)
      if (id !== undefined) this.#outlet.send({ type: 'response', id, result: null })
    } catch (error) {
      if (id === undefined) session.refuse(error)
      else this.#outlet.send({ type: 'response', id, error: session.failureOf(error) })
    }
    this.#handleWaiting(session)
  }

  async #call(session: Session, message: ClientMessage & { type: 'request' }): Promise<void> {
    const { id, method, params } = message
    const outcome = await this.#context.rpc.call(session.identity, { id, method, params })
    this.#outlet.send({ type: 'response', id, ...outcome })
  }

  #expireWithIdentity(session: Session): void {
    this.#cancelExpiry()
    this.#cancelExpiry = expireWith(session.identity, this.#context.expiryGraceMs, this.#outlet, () =>
      this.#bye(closeCodes.expired, 'Your credentials have expired.', 0),
    )
  }

  /** A client that does not answer a ping within an interval counts as gone (R27). */
  #beat(message: { type: 'heartbeat'; at: number; n: number }, idle: boolean): void {
    if (!this.#alive) {
      this.#bye(closeCodes.timeout, 'Your side has not answered a ping for a whole interval.', 0)
      return
    }
    this.#alive = false
    this.#socket.ping()
    if (idle) this.#outlet.send(message)
  }

  get #isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN
  }

  #bye(code: number, message: string, retry: number | null): void {
    if (!this.#isOpen) return
    this.#outlet.finish({ type: 'bye', code, message, retry })
    // A close frame's reason is at most 123 bytes (RFC 6455 §5.5).
    this.#socket.close(
      code,
      Buffer.from(message)
        .subarray(0, 120)
        .toString('utf8')
        .replace(/\uFFFD$/, ''),
    )
    setTimeout(() => this.#socket.terminate(), this.#context.limits.helloMs).unref()
  }

  #end(): void {
    this.#outlet.close()
    this.#session?.close()
    for (const cleanup of this.#cleanups.splice(0)) cleanup()
  }
}

/** The payload of a text frame: `ws` delivers one buffer unless it is asked for fragments. */
function textOf(data: RawData): string {
  return Array.isArray(data) ? Buffer.concat(data).toString() : Buffer.from(data as Buffer).toString()
}
