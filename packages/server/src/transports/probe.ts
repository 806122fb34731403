import { closeCodes, paths } from '@crossfade/protocol'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { WebSocket } from 'ws'
import { addressOf } from '../connections/client-address.ts'
import type { TransportContext } from './context.ts'

/** Lets a client whose attempt failed distinguish "WebSocket blocked" from "server down" (PROTOCOL §9). No authentication, no state. */
export function registerProbe(scope: FastifyInstance, context: TransportContext): void {
  scope.route({
    method: 'GET',
    url: paths.probe,
    handler: async (_request, reply) => reply.code(204).header('cache-control', 'no-store').send(),
    wsHandler: (socket: WebSocket, request: FastifyRequest) => {
      try {
        socket.once('close', context.counter.acquireUnknown(addressOf(request)))
      } catch {
        socket.close(closeCodes.tooManyConnections)
      }
      const deadline = setTimeout(() => socket.terminate(), 5_000)
      socket.once('message', (data, isBinary) => socket.send(data, { binary: isBinary }, () => socket.close(1000)))
      socket.once('close', () => clearTimeout(deadline))
    },
  })
}
