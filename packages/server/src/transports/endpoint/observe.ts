import { hashValue } from '@crossfade/protocol'
import type { LiveTopic } from '../../topics/live-topic.ts'
import { ValueTopic } from '../../topics/value-topic.ts'

/**
 * The hash of a body; `null` when it is not JSON after all, which is not for us to judge.
 *
 * Most polls find what the topic holds: then its hash is known. A body that differs from it only in fields that the route ignores
 * has the same: nobody is told of a change that is none.
 */
export function hashOfBody(topic: LiveTopic, cursor: string, body: string): string | null {
  const held = topic instanceof ValueTopic ? topic.state.snapshot : null
  if (held?.data === body) return held.hash
  try {
    const value: unknown = JSON.parse(body)
    const hash = hashValue(value)
    if (!(topic instanceof ValueTopic)) return hash
    if (topic.agrees({ value, hash })) return held?.hash ?? hash
    reloadOnMismatch(topic, cursor)
    return hash
  } catch {
    return null
  }
}

/** The hash of the body that a client has by its entity tag, as far as the topic knows the tag. */
export function hashOfTag(topic: LiveTopic, tag: unknown): string | undefined {
  const isHeld = topic instanceof ValueTopic && topic.tags.some((held) => held === tag)
  return isHeld ? topic.state.snapshot?.hash : undefined
}

/** An answer that differs from a settled value at the same cursor: something changed that no rule told. The topic looks again (R8). */
function reloadOnMismatch(topic: ValueTopic, cursor: string): void {
  if (topic.needed && topic.settled && topic.cursor === cursor) topic.invalidate()
}
