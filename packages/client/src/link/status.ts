import type { ClientStatus } from '../client.ts'
import type { LinkState } from './machine.ts'

/** What the application is told of the link; `null` before anything was followed. */
export function statusOf(link: LinkState | null): ClientStatus {
  if (link === null || link.phase === 'idle' || link.phase === 'asleep')
    return { state: 'idle', transport: null, reason: null, retryAt: null }
  const { phase, ladder, rung, reason, retryAt, attempt } = link
  if (phase === 'live') return { state: phase, transport: ladder[rung] ?? null, reason, retryAt }
  if (phase === 'stopped') return { state: phase, transport: 'endpoint', reason, retryAt }
  // After one vain try the page lives on its own polls.
  return attempt > 0
    ? { state: 'polling', transport: 'endpoint', reason, retryAt }
    : { state: 'connecting', transport: null, reason, retryAt }
}
