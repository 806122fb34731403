import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { admitTo } from '../../connections/admit-to.ts'
import type { Identity } from '../../identity/principal.ts'
import type { LiveTopic } from '../../topics/live-topic.ts'
import type { Subscriber } from '../../delivery/subscriber.ts'
import { ValueTopic } from '../../topics/value-topic.ts'
import type { TransportContext } from '../context.ts'
import { acquireConnection, requireOrigin } from '../guard.ts'
import { advertise, sayHeld } from './decorate.ts'
import { noneMatch } from './preferences.ts'

/** A long poll of one endpoint (R12). */
interface EndpointHold {
  /** The request's own path and query: a page of a list has its own tag. */
  readonly url: string
  /** The client's `If-None-Match`. */
  readonly etag: string
  readonly waitMs: number
  /** Closes when the client goes away. */
  readonly closed: ServerResponse
}

/**
 * Holds the answer of a wrapped endpoint until the topic changes (R12).
 *
 * @param topic retained by the caller.
 * @returns whether the answer was given, as 304; otherwise the handler gives it.
 * @throws CrossfadeError `forbidden_origin`, `too_fast`
 */
export async function answerHeld(
  context: TransportContext,
  { topic, identity, waitMs }: { readonly topic: LiveTopic; readonly identity: Identity; readonly waitMs: number },
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<boolean> {
  requireOrigin(context, request)
  const etag = request.headers['if-none-match']
  if (etag === undefined || waitMs === 0) return false
  const seq = context.access.revocationSeq()
  const release = acquireConnection(context, request, identity)
  try {
    const hold = { url: request.originalUrl, etag, waitMs, closed: reply.raw }
    const differs = await holdForChange(context, topic, identity, hold)
    // The application's hooks admitted the client before it was revoked: they check it again with its next request.
    if (differs && context.access.wasRevoked(identity, seq)) return await answerUnchanged(reply, etag)
    if (differs) return false
  } finally {
    release()
  }
  // The client's value may differ in fields that the route ignores: then its hash is unknown.
  const isExact = topic instanceof ValueTopic && topic.address.definition.ignore.length === 0
  const hash = isExact ? topic.state.snapshot?.hash : undefined
  advertise(context, reply, topic, { cursor: topic.cursor, hash, principal: identity.principal })
  sayHeld(reply, waitMs)
  return answerUnchanged(reply, topic instanceof ValueTopic ? topic.tags[0] : etag)
}

async function answerUnchanged(reply: FastifyReply, etag: string): Promise<true> {
  await reply.code(304).header('cache-control', 'no-store').header('etag', etag).send()
  return true
}

/**
 * Waits until a topic differs from what the client has.
 *
 * @param topic retained by the caller.
 * @returns true when the handler must answer: the topic differs, or the endpoint refuses the client; false when the time passed.
 */
async function holdForChange(
  context: TransportContext,
  topic: LiveTopic,
  identity: Identity,
  hold: EndpointHold,
): Promise<boolean> {
  const stop = new AbortController()
  // A draining server answers held requests, as at the time limit (R26).
  const take = context.connections.add({ tell: () => {}, bye: () => stop.abort() })
  try {
    const { head } = topic.state
    if (!(await hasCurrent(context, topic, identity, hold))) return true
    // Something changed while the client's tag was compared.
    if (topic instanceof ValueTopic ? !isCurrent(topic, hold.etag) : topic.state.head !== head) return true
    return await nextChange(topic, identity, hold, stop)
  } catch {
    return true
  } finally {
    take()
  }
}

/** Whether the client's tag is that of the current answer. Only clients that may read the endpoint get this far. */
async function hasCurrent(
  context: TransportContext,
  topic: LiveTopic,
  identity: Identity,
  { url, etag }: EndpointHold,
): Promise<boolean> {
  if (topic instanceof ValueTopic) {
    await admitTo(topic, identity, context)
    await topic.ready(identity)
    // Whether a value that may be old differs is unknown (R55).
    return topic.staleness === null && isCurrent(topic, etag)
  }
  const verdict = await context.runner.run(topic.address, identity, { kind: 'check', url, ifNoneMatch: etag })
  return verdict.kind === 'unchanged' || (verdict.kind === 'value' && noneMatch(etag, `"${verdict.answer.hash}"`))
}

function isCurrent(topic: ValueTopic, etag: string): boolean {
  return topic.tags.some((tag) => noneMatch(etag, tag))
}

async function nextChange(
  topic: LiveTopic,
  identity: Identity,
  hold: EndpointHold,
  stop: AbortController,
): Promise<boolean> {
  if (stop.signal.aborted) return false
  const timer = setTimeout(() => stop.abort(), hold.waitMs)
  const gone = once(hold.closed, 'close', { signal: stop.signal }).then(
    () => stop.abort(),
    () => {},
  )
  const changed = new Promise<boolean>((resolve) => {
    const subscriber = holdSubscriber(identity, topic.state.head, {
      changed: () => {
        if (topic instanceof ValueTopic && isCurrent(topic, hold.etag)) return
        resolve(true)
      },
      answer: () => resolve(true),
    })
    topic.attach(subscriber)
    stop.signal.addEventListener('abort', () => {
      topic.detach(subscriber)
      resolve(false)
    })
  })
  try {
    return await changed
  } finally {
    clearTimeout(timer)
    stop.abort()
    await gone
  }
}

/** A subscriber that only wants to know that something happened. `answer`: whatever the client's tag says. */
function holdSubscriber(
  identity: Identity,
  offset: number,
  { changed, answer }: { readonly changed: () => void; readonly answer: () => void },
): Subscriber {
  return {
    mode: 'changes',
    paged: false,
    identity,
    offset,
    needsSnapshot: false,
    congested: () => false,
    deliver: changed,
    reset: changed,
    // The endpoint itself says what is wrong.
    stale: answer,
    end: answer,
    fresh: () => {},
  }
}
