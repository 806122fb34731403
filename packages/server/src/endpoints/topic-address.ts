import { topicQuery } from '@crossfade/protocol'
import type { Identity } from '../identity/principal.ts'
import type { TopicDefinition } from './definition.ts'
import { groupKey } from './group.ts'

/** A topic as one client sees it: its name, and which answer is this client's. */
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
 * The key of a topic in the broker: the name and, if the answer is not the same for everybody, who shares it.
 *
 * @returns `null` when the topic needs a principal and there is none.
 * @throws UnusableGroup when it needs a group and the principal is not in a usable one.
 */
export function topicKey(definition: TopicDefinition, topic: string, identity: Identity): string | null {
  const audience = audienceKey(definition, topic, identity)
  if (audience === null) return null
  // The events of a log are the same for everybody who may read it: its headers only decide who may.
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

function audienceKey(definition: TopicDefinition, topic: string, { principal }: Identity): string | null {
  const { audience } = definition
  if (audience === 'public') return ''
  if (principal === null) return null
  // Quoted, so that no id can be mistaken for another key.
  return audience === 'principal'
    ? `\nprincipal=${JSON.stringify(principal.id)}`
    : `\ngroup=${groupKey(definition, audience.group, topic, principal)}`
}
