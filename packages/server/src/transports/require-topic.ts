import { CrossfadeError, type ErrorMessage } from '@crossfade/protocol'
import type { Outlet } from '../connections/outlet.ts'
import { Session } from '../connections/session.ts'
import type { Identity } from '../identity/principal.ts'
import type { TransportContext } from './context.ts'

/**
 * Asks whether a client would get a topic, by a trial subscription: until the answer has begun, a refusal can still be its status.
 *
 * @throws CrossfadeError of the refusal.
 */
export async function requireTopic(context: TransportContext, topic: string, identity: Identity): Promise<void> {
  // An EventSource that gets an error status gives up for good: here it gets `bye` instead, and returns later (R62).
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
