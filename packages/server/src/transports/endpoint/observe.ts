import { hashValue } from '@crossfade/protocol'
import type { LiveTopic } from '../../topics/live-topic.ts'
import { ValueTopic } from '../../topics/value-topic.ts'

/** The hashes that identify an answer's body. */
export interface BodyHashes {
  /** Of the body as it is sent. */
  readonly sent: string
  /** The same for bodies that differ only in fields that the route ignores: no client is told of a change that is not one. */
  readonly tag: string
}

/**
 * The hashes of a body; `null` when it is not JSON after all, which is left as it is. Most polls get the topic's own value: then
 * the hashes are known.
 */
export function hashesOfBody(topic: LiveTopic, cursor: string, body: string): BodyHashes | null {
  const snapshot = topic instanceof ValueTopic ? topic.state.snapshot : null
  if (snapshot?.data === body) return { sent: snapshot.hash, tag: snapshot.hash }
  try {
    const value: unknown = JSON.parse(body)
    const sent = hashValue(value)
    if (!(topic instanceof ValueTopic)) return { sent, tag: sent }
    if (topic.agrees({ value, hash: sent })) return { sent, tag: snapshot?.hash ?? sent }
    reloadOnMismatch(topic, cursor)
    return { sent, tag: sent }
  } catch {
    return null
  }
}

/** The hash of the body that a client has according to its entity tag, if the topic knows the tag and it identifies that body alone. */
export function hashOfTag(topic: LiveTopic, tag: unknown): string | undefined {
  if (!(topic instanceof ValueTopic) || typeof tag !== 'string') return undefined
  const isExact = topic.address.definition.ignore.length === 0 || !tag.startsWith('W/')
  return isExact && topic.tags.includes(tag) ? topic.state.snapshot?.hash : undefined
}

/** An answer that differs from a settled value at the same cursor: something changed that no rule covers. The topic loads again (R8). */
function reloadOnMismatch(topic: ValueTopic, cursor: string): void {
  if (topic.needed && topic.settled && topic.cursor === cursor) topic.invalidate()
}
