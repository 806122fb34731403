import { closeCodes, encodeSse } from '@crossfade/protocol'
import { createSession } from 'better-sse'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Session } from '../connections/session.ts'
import { StreamOutlet } from '../connections/stream-outlet.ts'
import type { Heartbeats } from '../connections/heartbeats.ts'
import type { Identity } from '../identity/principal.ts'
import { expireWith } from '../connections/expiry.ts'
import { pendingStageMessages } from '../rollout/stage-messages.ts'
import type { TransportContext } from './context.ts'
import { eventBytes } from '../delivery/event-bytes.ts'
import { eventWire } from './event-wire.ts'
import { hello } from './hello.ts'
import { SseConnection } from './sse-connection.ts'

const proofSpacingMs = 300

/** What a stream is opened with. */
export interface SseStreamOptions {
  readonly identity: Identity
  /** Events carry their cursor as `id:` (one topic, R13). */
  readonly withIds: boolean
  /** Two timed heartbeats follow `hello`, so that the client sees whether the path buffers (R25). */
  readonly proof: boolean
  /** Up to which version the client has heard of rollouts (R61). */
  readonly stagesSince?: number | undefined
  /** Gives the connection back to the limits. */
  readonly release: () => void
}

/** Opens an SSE stream on a request and returns its session, ready to subscribe. */
export async function openSseStream(
  context: TransportContext,
  request: FastifyRequest,
  reply: FastifyReply,
  options: SseStreamOptions,
): Promise<Session> {
  const answer = reply.raw
  const { limits, cycle } = context
  const headers = reply.getHeaders()
  reply.hijack()
  request.raw.socket.setKeepAlive(true, limits.heartbeatMs)
  request.raw.socket.setNoDelay(true)
  await createSession(new SseConnection(answer, headers), { keepAlive: null, retry: null })

  const cleanups: (() => void)[] = [options.release]
  const bye = (code: number, message: string, retry: number | null): void => {
    if (answer.writableEnded) return
    outlet.finish({ type: 'bye', code, message, retry })
    answer.end()
    // A client that does not read would keep the answer, and what waits in it, for ever.
    setTimeout(() => answer.destroy(), limits.helloMs).unref()
  }
  const { stream, form } = eventWire(answer)
  const outlet = new StreamOutlet(
    {
      stream,
      encode: (message) => eventBytes(encodeSse(JSON.stringify(message)))[form],
      bytesOf: (batch) => (options.withIds ? batch.sseWithIds : batch.sse)[form],
      overflow: () => bye(4413, 'You read too slowly. Come back with your cursors.', 0),
      drained: () => session.drained(),
    },
    cycle,
    limits.maxOutboxBytes,
  )
  const session = new Session(context.session, options.identity, outlet, limits.maxTopicsPerConnection, () =>
    bye(closeCodes.overloaded, context.gate.refusal, context.gate.retryMs),
  )
  const end = (): void => {
    outlet.close()
    session.close()
    for (const cleanup of cleanups) cleanup()
  }

  for (const message of [hello(limits, options.identity), ...pendingStageMessages(context, options.stagesSince)])
    outlet.send(message)
  outlet.flush()
  if (options.proof) cleanups.push(proveStreaming(outlet))
  cleanups.push(
    context.connections.add({ tell: (message) => outlet.send(message), bye }),
    beat(context.heartbeats, outlet),
    rotateAfter(context.rotateMs * (0.8 + Math.random() * 0.4), () =>
      bye(1001, 'Streams are renewed now and then.', 0),
    ),
    expireWith(options.identity, context.expiryGraceMs, outlet, () => bye(4440, 'Your credentials ran out.', 0)),
  )
  if (answer.closed) end()
  else answer.once('close', end)
  return session
}

function proveStreaming(outlet: StreamOutlet): () => void {
  let n = 0
  const timer = setInterval(() => {
    outlet.send({ type: 'heartbeat', at: Date.now(), n: (n += 1) })
    if (n === 2) clearInterval(timer)
  }, proofSpacingMs)
  return () => clearInterval(timer)
}

function beat(heartbeats: Heartbeats, outlet: StreamOutlet): () => void {
  return heartbeats.add({
    get lastWriteAt() {
      return outlet.lastWriteAt
    },
    beat: (message, idle) => {
      if (idle) outlet.send(message)
    },
  })
}

function rotateAfter(ms: number, rotate: () => void): () => void {
  const timer = setTimeout(rotate, ms)
  timer.unref()
  return () => clearTimeout(timer)
}
