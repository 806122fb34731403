import { EventEmitter } from 'node:events'
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import websocket from '@fastify/websocket'
import type { FastifyInstance, onRequestAsyncHookHandler, RouteOptions } from 'fastify'
import { PlainRequests } from './plain-requests.ts'
import { chooseSubprotocol } from './websocket.ts'

/** Makes Node's parser distinguish an upgrade from a plain request. One shared function, so that it can be told from the application's listeners. */
const tellUpgrades = (): void => {}
/** Servers whose upgrades are intercepted already, when the plugin is registered in two places. */
const taken = new WeakSet<Server>()

/**
 * The upgrades under `{base}`. All others are handled as if this plugin were not there (R10): by the application's listeners, or, if there
 * are none, as plain requests, as Node does, `Upgrade: h2c` for example.
 *
 * An `upgrade` listener beside those of the application would not do: each of them sees every upgrade, and socket.io, `ws` or
 * another @fastify/websocket would answer ours as well. So ours are intercepted before the listeners are called.
 */
export class Upgrades {
  readonly #server: UpgradingServer
  readonly #isOurs: (path: string) => boolean
  /** Stands for the server to @fastify/websocket (its documented option `server`), and sees our upgrades only. */
  readonly #gate = new EventEmitter()
  /** Node's HTTP server no longer knows them, so only we can end them. */
  readonly #sockets = new Set<Duplex>()
  readonly #requests = new WeakSet<IncomingMessage>()
  readonly #plain: PlainRequests
  #giveBack: () => void = () => {}
  /** An upgrade that is not ours may belong to an earlier registration of the plugin. */
  #isSecond = false

  /** @param isOurs whether a path is under `{base}`. */
  constructor(server: Server, isOurs: (path: string) => boolean) {
    this.#server = server
    this.#isOurs = isOurs
    this.#plain = new PlainRequests(server)
  }

  /** Intercepts our upgrades, from now until {@link close}. */
  install(): void {
    const server = this.#server
    this.#isSecond = taken.has(server)
    taken.add(server)
    const emit = server.emit.bind(server)
    const take = (...event: [string, ...unknown[]]): boolean =>
      event[0] === 'upgrade' ? this.#take(event as UpgradeEvent, emit) : emit(...event)
    server.emit = take as typeof emit
    server.on('upgrade', tellUpgrades)
    const decide = server.shouldUpgradeCallback
    if (decide !== undefined)
      server.shouldUpgradeCallback = (request) =>
        this.#isOurs(request.url ?? '') ? isWebSocket(request) : this.#hasOthers() && decide.call(server, request)
    this.#giveBack = () => {
      if (server.emit === take) server.emit = emit
      if (decide !== undefined) server.shouldUpgradeCallback = decide
      server.off('upgrade', tellUpgrades)
    }
  }

  /**
   * Registers @fastify/websocket in our own scope, with our own options: whether the application registers it too, before or after, makes
   * no difference to either.
   */
  async register(scope: FastifyInstance, maxPayload: number): Promise<void> {
    // The library decorates requests with `ws`; Fastify would refuse that a second time, although it is the same.
    const { decorateRequest } = scope
    if (scope.hasRequestDecorator('ws')) scope.decorateRequest = () => scope
    await scope.register(websocket, {
      options: {
        server: this.#gate as Server,
        maxPayload,
        handleProtocols: chooseSubprotocol,
        perMessageDeflate: false,
      },
      // The library's own shutdown would come before our `bye` and replace our close codes.
      preClose: (done) => done(),
      errorHandler: (error, _socket, request) => request.log.info(error, 'crossfade: a WebSocket failed'),
    })
    scope.decorateRequest = decorateRequest
    scope.addHook('onRoute', refuseUpgrade)
    // Only a refused upgrade has a response, and `app.close()` would wait for its socket without end.
    scope.addHook('onResponse', async ({ raw }) => {
      if (this.#requests.has(raw)) raw.socket.destroySoon()
    })
  }

  /** Closes our remaining sockets, and leaves all others alone. */
  destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.#giveBack()
  }

  /** Whether somebody else handles upgrades: a listener of the application, or the plugin in another place. */
  #hasOthers(): boolean {
    return this.#isSecond || this.#server.listeners('upgrade').some((listener) => listener !== tellUpgrades)
  }

  #take(event: UpgradeEvent, emit: Server['emit']): boolean {
    const [, request, socket] = event
    const isOurs = this.#isOurs(request.url ?? '')
    if (isOurs && isWebSocket(request)) {
      this.#requests.add(request)
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
      return this.#gate.emit(...event)
    }
    if (!isOurs && this.#hasOthers()) return emit(...event)
    this.#plain.serve(...event)
    return true
  }
}

function isWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket'
}

/** Newer versions of Node ask before they treat a request as an upgrade; older ones treat all of them so once there is a listener. */
interface UpgradingServer extends Server {
  shouldUpgradeCallback?: (request: IncomingMessage) => boolean
}

type UpgradeEvent = ['upgrade', request: IncomingMessage, socket: Duplex, head: Buffer]

/** The library would accept an upgrade on any route of its scope and then close it: a route without a WebSocket answers 404 instead. */
function refuseUpgrade(route: RouteOptions): void {
  if (route.wsHandler) return
  const refuse: onRequestAsyncHookHandler = async (request, reply) => {
    if (request.ws) reply.callNotFound()
    return request.ws ? reply : undefined
  }
  route.onRequest = [refuse, ...[route.onRequest ?? []].flat()]
}
