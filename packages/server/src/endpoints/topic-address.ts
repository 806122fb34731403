import { topicName, topicQuery } from '@crossfade/protocol'
import type { FastifyRequest } from 'fastify'
import type { Identity, Principal } from '../identity/principal.ts'
import type { Audience, TopicDefinition } from './definition.ts'

/** A topic as one client sees it: its name, and the answer that is its own. */
export interface TopicAddress {
  readonly definition: TopicDefinition
  /** The name on the wire. */
  readonly name: string
  readonly params: Readonly<Record<string, string>>
  /** The key in the broker. */
  readonly key: string
  /** The headers on which the answer depends besides the credentials. */
  readonly headers: Readonly<Record<string, string>>
}

/**
 * The topic's name for a request, or `null` when the request is not the topic (R10).
 *
 * @throws whatever the route's own `params` throws.
 */
export function topicOfRequest(definition: TopicDefinition, request: FastifyRequest): string | null {
  const query: Record<string, string> = {}
  for (const [name, value] of Object.entries(request.query as Record<string, unknown>)) {
    if (definition.paging.has(name)) continue
    if (!definition.query.has(name)) return null
    // Two objects would have the same text, and their requests share an answer.
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return null
    query[name] = String(value)
  }
  const given = definition.params ? definition.params(request) : {}
  const params = { ...(request.params as Record<string, string>), ...given }
  return topicName(definition.pattern.expand(params), query)
}

/** The URL of the endpoint that answers for a topic. */
export function urlOfTopic({ definition, params, name }: TopicAddress): string {
  if (definition.url === null) throw new Error(`topic ${name} has no endpoint`)
  const path = definition.url.replaceAll(/:([A-Za-z0-9_]+)/g, (_, parameter: string) =>
    encodeURIComponent(params[parameter] ?? ''),
  )
  const query = new URLSearchParams(topicQuery(name)).toString()
  return query === '' ? path : `${path}?${query}`
}

/**
 * The key of a topic in the broker: the name and, where the answer is not the same for all, between whom it is.
 *
 * @returns `null` when the topic needs a principal and there is none.
 */
export function topicKey(definition: TopicDefinition, topic: string, identity: Identity): string | null {
  const audience = audienceKey(definition.audience, identity.principal)
  if (audience === null) return null
  // The events of a log are the same for all who may read it: its headers only say who may.
  if (definition.kind === 'log') return topic + audience
  const vary = definition.vary.map((name) => `\n${name}=${identity.headers[name] ?? ''}`).join('')
  return topic + audience + vary
}

/** The headers on which this client's answer depends besides its credentials. */
export function varyHeaders(definition: TopicDefinition, identity: Identity): Readonly<Record<string, string>> {
  const given = definition.vary.flatMap((name) => {
    const value = identity.headers[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return Object.fromEntries(given)
}

function audienceKey(audience: Audience, principal: Principal | null): string | null {
  if (audience === 'public') return ''
  if (principal === null) return null
  // Quoted, so that no id can look like the key of something else.
  return audience === 'principal'
    ? `\nprincipal=${JSON.stringify(principal.id)}`
    : `\ngroup=${JSON.stringify(audience.group(principal))}`
}
