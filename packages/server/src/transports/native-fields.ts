import type { SseFields } from '@crossfade/protocol'
import { spreadOf } from '../rollout/spread.ts'

/**
 * What a browser's own `EventSource` relies on (R13): the cursor, even while the topic is quiet, and when to reconnect, which it is told in advance, since
 * a connection may be cut without warning, and again before each close.
 */
export function nativeFields(message: object, connections: number): SseFields {
  const { type, cursor, retry } = message as { type: string; cursor?: string; retry?: number | null }
  if (type === 'hello') return { retry: reconnectMs(0, spreadOf(connections)) }
  if (type === 'bye') return { retry: reconnectMs(retry ?? 0, 0) }
  return (type === 'subscribed' || type === 'reset') && cursor !== undefined ? { id: cursor } : {}
}

/** After at least a second, and not all together. */
function reconnectMs(askedMs: number, spreadMs: number): number {
  return Math.round(Math.max(1_000, askedMs) + Math.random() * Math.max(2_000, spreadMs))
}
