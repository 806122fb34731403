import type { ClientStatus } from '../client.ts'
import type { LinkState } from './machine.ts'

/** What the application is told of the link; `null` before anything was followed. */
export function statusOf(state: LinkState | null): ClientStatus {
  if (state === null) return { state: 'idle', transport: null, reason: null, retryAt: null }
  const { phase, ladder, rung, reason, retryAt, attempt } = state
  const transport = ladder[rung] ?? null
  switch (phase) {
    case 'idle':
    case 'asleep':
      return { state: 'idle', transport: null, reason: null, retryAt: null }
    case 'live':
      return { state: 'live', transport, reason, retryAt: null }
    case 'stopped':
      return { state: 'stopped', transport: 'endpoint', reason, retryAt: null }
    default:
      // After one vain try the page lives on its own polls.
      return attempt > 0
        ? { state: 'polling', transport: 'endpoint', reason, retryAt }
        : { state: 'connecting', transport: null, reason, retryAt }
  }
}
