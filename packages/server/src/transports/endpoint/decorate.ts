import { formatHeader, headerName } from '@crossfade/protocol'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Principal } from '../../identity/principal.ts'
import { principalTag } from '../../identity/principal-tag.ts'
import type { LiveTopic } from '../../topics/live-topic.ts'
import type { TransportContext } from '../context.ts'
import { baseOf } from '../base-path.ts'
import { noneMatch, varyWith } from './preferences.ts'
import { discardBody } from './read-body.ts'

/** What an answer says about itself. */
export interface Advertised {
  readonly cursor: string
  readonly hash: string | undefined
  /** The client that the answer is for. */
  readonly principal: Principal | null
}

/** Adds the `Crossfade` header to an answer, and what caches and foreign origins must know about it (R10). */
export function advertise(
  { rollout, base, gate }: Pick<TransportContext, 'rollout' | 'base' | 'gate'>,
  reply: FastifyReply,
  topic: LiveTopic,
  { cursor, hash, principal }: Advertised,
): void {
  if (gate.isSilent) return
  const { definition, name } = topic.address
  const header = formatHeader({
    topic: name,
    cursor,
    ...(hash === undefined ? {} : { hash }),
    feature: definition.feature,
    ...rollout.get(definition.feature),
    base: baseOf(base, reply.request.params),
    ...(definition.kind === 'log' ? { kind: 'log' } : {}),
    ...(definition.audience === 'public' || principal === null ? {} : { for: principalTag(principal) }),
  })
  // Where the request has headers that a subscription cannot send, such as a tenant, their names tell the client that this is not the topic's answer.
  const names = ['Accept', 'Prefer', ...definition.vary]
  void reply.header(headerName, header).header('vary', varyWith(reply.getHeader('vary'), names))
  if (reply.getHeader('access-control-allow-origin') === undefined) return
  const exposed = reply.getHeader('access-control-expose-headers')
  void reply.header('access-control-expose-headers', varyWith(exposed, [headerName, 'ETag', 'Vary']))
}

/** A held answer says how long it was held, and must not be cached (R12). */
export function sayHeld(reply: FastifyReply, waitMs: number): void {
  void reply.header('preference-applied', `wait=${Math.floor(waitMs / 1000)}`).header('cache-control', 'no-store')
}

/**
 * Adds the entity tag, and makes the answer 304 when the client has it (R11).
 *
 * @returns the payload to send.
 */
export function conditional(request: FastifyRequest, reply: FastifyReply, hash: string, payload: unknown): unknown {
  const own = `W/"${hash}"`
  const present = reply.getHeader('etag')
  if (present === undefined) void reply.header('etag', own)
  const given = request.headers['if-none-match']
  if (!noneMatch(given, own) && (present === undefined || !noneMatch(given, String(present)))) return payload
  discardBody(payload)
  void reply.code(304).removeHeader('content-length').removeHeader('content-type').removeHeader('content-encoding')
  return null
}
