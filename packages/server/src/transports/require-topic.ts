import { CrossfadeError, type ErrorMessage } from '@crossfade/protocol'
import type { Outlet } from '../connections/outlet.ts'
import { Session } from '../connections/session.ts'
import type { Identity } from '../identity/principal.ts'
import type { TransportContext } from './context.ts'

/**
 * Asks whether a client would get a topic, by a subscription that nobody hears: while the answer has not begun, a refusal can be its status.
 *
 * @throws CrossfadeError of the refusal.
 */
export async function requireTopic(context: TransportContext, topic: string, identity: Identity): Promise<void> {
  // An EventSource that gets a status gives up for good: it is sent away by `bye`, and comes again (R62).
  if (!context.gate.isOpen) return
  const refusals: ErrorMessage[] = []
  const silent: Outlet = {
    paged: true,
    send: (message) => {
      if ((message as { type: string }).type === 'error') refusals.push(message as ErrorMessage)
    },
    deliver: () => {},
    congested: () => false,
    waitForCapacity: () => Promise.resolve(true),
  }
  const session = new Session(context.session, identity, silent, 1)
  await session.subscribe({ topic, mode: 'changes' })
  session.close()
  const [refusal] = refusals
  if (refusal !== undefined) throw new CrossfadeError(refusal.code, refusal.message)
}
