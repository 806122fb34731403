import { parseCursor } from '@crossfade/protocol'
import type { FastifyRequest } from 'fastify'

/** The cursor in `Last-Event-ID`; text that is not a cursor counts as absent (R4). */
export function lastEventId(request: FastifyRequest): string | undefined {
  const text = request.headers['last-event-id']
  if (typeof text !== 'string') return undefined
  try {
    parseCursor(text)
    return text
  } catch {
    return undefined
  }
}
