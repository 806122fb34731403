import type { ServerResponse } from 'node:http'
import { closeCodes, encodeSse } from '@crossfade/protocol'
import { createSession } from 'better-sse'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Session } from '../connections/session.ts'
import { StreamOutlet } from '../connections/stream-outlet.ts'
import { Cleanups } from '../connections/cleanups.ts'
import type { Identity } from '../identity/principal.ts'
import { expireWith } from '../connections/expiry.ts'
import { pendingStageMessages } from '../rollout/stage-messages.ts'
import type { TransportContext } from './context.ts'
import { eventBytes } from '../delivery/event-bytes.ts'
import { eventWire } from './event-wire.ts'
import { hello } from './hello.ts'
import { nativeFields } from './native-fields.ts'
import { OneTopicOutlet } from './one-topic-outlet.ts'
import { SseConnection } from './sse-connection.ts'
import { beat, proveStreaming, rotateAfter } from './stream-timers.ts'

/** What a stream is opened with. */
export interface SseStreamOptions {
  readonly identity: Identity
  /** It is of one topic, for a browser's own `EventSource`: it carries cursors as `id:`, sends `retry:`, and ends with the topic (R13). */
  readonly withIds: boolean
  /** Two timed heartbeats follow `hello`, so that the client sees whether the path buffers (R25). */
  readonly proof: boolean
  /** The version up to which the client knows the rollouts (R61). */
  readonly stagesSince?: number | undefined
  /** Releases the connection from the limits. */
  readonly release: () => void
}

/**
 * Opens an SSE stream on a request and returns its session, ready to subscribe. Whatever goes wrong, the connection is released from the limits.
 */
export async function openSseStream(
  context: TransportContext,
  request: FastifyRequest,
  reply: FastifyReply,
  options: SseStreamOptions,
): Promise<Session> {
  const answer = reply.raw
  const cleanups = new Cleanups()
  cleanups.add(options.release)
  answer.once('close', () => cleanups.run())
  if (answer.closed) cleanups.run()
  try {
    const headers = reply.getHeaders()
    reply.hijack()
    request.raw.socket.setKeepAlive(true, context.limits.heartbeatMs)
    request.raw.socket.setNoDelay(true)
    const connection = new SseConnection(answer, headers)
    await createSession(connection, { keepAlive: null, retry: null })
    if (connection.failure !== null) throw connection.failure
    return begin(context, answer, options, cleanups)
  } catch (error) {
    answer.destroy()
    cleanups.run()
    throw error
  }
}

/** The head is sent: `hello`, and everything that a stream does by itself. */
function begin(
  context: TransportContext,
  answer: ServerResponse,
  options: SseStreamOptions,
  cleanups: Cleanups,
): Session {
  const { limits, cycle, connections } = context
  const bye = (code: number, message: string, retry: number | null): void => {
    if (answer.writableEnded) return
    outlet.finish({ type: 'bye', code, message, retry })
    answer.end()
    // Otherwise a client that does not read would keep the answer, and what is waiting in it, without end.
    setTimeout(() => answer.destroy(), limits.helloMs).unref()
  }
  const { stream, form } = eventWire(answer)
  const fieldsOf = options.withIds ? (message: object) => nativeFields(message, connections.size) : () => ({})
  const outlet = new StreamOutlet(
    {
      stream,
      encode: (message) => eventBytes(encodeSse(JSON.stringify(message), fieldsOf(message)))[form],
      bytesOf: (batch) => (options.withIds ? batch.sseWithIds : batch.sse)[form],
      overflow: () => bye(closeCodes.tooSlow, 'You read too slowly. Reconnect with your cursors.', 0),
      drained: () => session.drained(),
    },
    cycle,
    limits.maxOutboxBytes,
  )
  const topics = options.withIds
    ? new OneTopicOutlet(outlet, ({ code, retry }) => bye(code, 'The topic of this stream has ended.', retry))
    : outlet
  const session = new Session(context.session, options.identity, topics, limits.maxTopicsPerConnection, () =>
    bye(closeCodes.overloaded, context.gate.refusal, context.gate.retryMs),
  )
  cleanups.add(() => {
    outlet.close()
    session.close()
  })
  const greeting = [hello(limits, options.identity), ...pendingStageMessages(context, options.stagesSince)]
  for (const message of greeting) outlet.send(message)
  outlet.flush()
  if (options.proof) cleanups.add(proveStreaming(outlet))
  cleanups.add(connections.add({ tell: (message) => outlet.send(message), bye }))
  cleanups.add(beat(context.heartbeats, outlet))
  cleanups.add(
    rotateAfter(context.rotateMs * (0.8 + Math.random() * 0.4), () =>
      bye(closeCodes.goingAway, 'Streams are renewed now and then.', 0),
    ),
  )
  cleanups.add(
    expireWith(options.identity, context.expiryGraceMs, outlet, () =>
      bye(closeCodes.expired, 'Your credentials have expired.', 0),
    ),
  )
  return session
}
