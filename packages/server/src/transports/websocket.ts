import type { Duplex } from 'node:stream'
import { paths, subprotocol } from '@crossfade/protocol'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { WebSocket } from 'ws'
import { CrossfadeError } from '@crossfade/protocol'
import { WebSocketClient } from './websocket-client.ts'
import type { TransportContext } from './context.ts'

/** The TCP socket under an upgrade; the frames that many clients share are written to it as they are. */
const sockets = new WeakMap<FastifyRequest, Duplex>()

/** WebSocket (PROTOCOL §5): the same messages, both ways. */
export function registerWebSocket(scope: FastifyInstance, context: TransportContext): void {
  scope.route({
    method: 'GET',
    url: paths.websocket,
    preValidation: async (request, reply) => {
      if (!request.ws) return
      requireKnownVersion(request)
      rememberSocket(request, reply)
    },
    handler: async (_request, reply) => reply.code(404).send(),
    wsHandler: (socket: WebSocket, request: FastifyRequest) => {
      const stream = sockets.get(request)
      if (stream === undefined) {
        socket.terminate()
        return
      }
      new WebSocketClient(context, socket, stream, request).start()
    },
  })
}

/** R31: none offered means this version; only unknown ones offered is refused before the handshake. */
function requireKnownVersion(request: FastifyRequest): void {
  const offered = request.headers['sec-websocket-protocol']
  if (offered === undefined) return
  const names = offered.split(',').map((name) => name.trim())
  if (names.includes(subprotocol)) return
  throw new CrossfadeError(
    'unsupported_version',
    `None of the subprotocols "${offered}" is supported here. Offer ${subprotocol}, or none.`,
  )
}

function rememberSocket(request: FastifyRequest, reply: FastifyReply): void {
  const { socket } = reply.raw
  if (socket !== null) sockets.set(request, socket)
}

/** Chooses the subprotocol at the handshake. */
export function chooseSubprotocol(offered: Set<string>): string | false {
  return offered.has(subprotocol) ? subprotocol : false
}
