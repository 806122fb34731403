import { protocolVersion, type Hello } from '@crossfade/protocol'
import { connectionId } from '../connections/connection-id.ts'
import type { Identity } from '../identity/principal.ts'
import { principalTag } from '../identity/principal-tag.ts'
import type { Limits } from '../limits.ts'

/** The first message of a connection (R25, R32). */
export function hello({ heartbeatMs, maxTopicsPerConnection }: Limits, { principal }: Identity): Hello {
  return {
    type: 'hello',
    protocol: protocolVersion,
    connection: connectionId(),
    heartbeat: heartbeatMs,
    maxTopics: maxTopicsPerConnection,
    at: Date.now(),
    ...(principal === null ? {} : { for: principalTag(principal) }),
  }
}
