import type { Duplex } from 'node:stream'
import websocket from '@fastify/websocket'
import type { FastifyInstance, onRequestAsyncHookHandler, RouteOptions } from 'fastify'
import { chooseSubprotocol } from './websocket.ts'

/** Registers @fastify/websocket, unless the application has done so. */
export async function registerUpgrades(app: FastifyInstance, maxMessageBytes: number): Promise<void> {
  if (app.hasDecorator('websocketServer')) return
  await app.register(websocket, websocketOptions(maxMessageBytes))
  app.addHook('onRoute', refuseUpgrade)
}

/** The library's own endings would come before our `bye` and replace our close codes. */
function websocketOptions(maxPayload: number): websocket.WebsocketPluginOptions {
  return {
    options: { maxPayload, handleProtocols: chooseSubprotocol, perMessageDeflate: false },
    preClose: (done) => done(),
    errorHandler: (error, _socket, request) => request.log.info(error, 'crossfade: a WebSocket failed'),
  }
}

/** The library would accept an upgrade on any route, and close it then: where there is no WebSocket there is nothing. */
function refuseUpgrade(route: RouteOptions): void {
  if (route.websocket || route.wsHandler) return
  const refuse: onRequestAsyncHookHandler = async (request, reply) => {
    if (request.ws) reply.callNotFound()
    return request.ws ? reply : undefined
  }
  route.onRequest = [refuse, ...[route.onRequest ?? []].flat()]
}

/**
 * Sockets that asked for an upgrade: Node's HTTP server does not know them any more, so nobody but us would end them.
 *
 * A refusal by a hook of the application leaves its socket open, and `app.close()` would wait for it for ever.
 */
export class UpgradedSockets {
  readonly #sockets = new Set<Duplex>()

  install(app: FastifyInstance): void {
    app.server.on('upgrade', (_request, socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    // Only a refused upgrade has a response.
    app.addHook('onResponse', async (request) => {
      if (request.headers.upgrade !== undefined) request.raw.socket?.destroySoon?.()
    })
  }

  destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}
