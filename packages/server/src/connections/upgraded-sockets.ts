import type { Duplex } from 'node:stream'
import type { FastifyInstance } from 'fastify'

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
