import { closeCodes } from '@crossfade/protocol'
import { spreadOf } from './rollout/spread.ts'
import type { TransportContext } from './transports/context.ts'
import type { OpenAnswers } from './transports/open-answers.ts'
import type { Upgrades } from './transports/upgrades.ts'

const drainMs = 5_000

/** What clients may keep open on our side. */
interface Open {
  readonly answers: OpenAnswers
  readonly upgrades: Upgrades
}

/**
 * Says `bye` to every connection, and waits a moment for it to be read and for calls to be answered; what is still open then is closed. What the
 * application has opened is left to the application (R10).
 */
export async function drain(context: TransportContext, { answers, upgrades }: Open): Promise<void> {
  const { connections } = context
  connections.isDraining = true
  connections.endAll(
    closeCodes.goingAway,
    'The server is restarting. Reconnect with your cursors.',
    spreadOf(connections.size),
  )
  const until = performance.now() + drainMs
  while (connections.size + answers.size > 0 && performance.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 20))
  answers.destroyAll()
  upgrades.destroyAll()
}

/** Ends every timer and forgets every topic. A broker that the application created is closed by the application. */
export async function dispose(
  context: TransportContext,
  { ownsBroker }: { readonly ownsBroker: boolean },
): Promise<void> {
  context.heartbeats.close()
  context.access.close()
  context.rpc.close()
  context.rate.close()
  context.hub.close()
  if (ownsBroker) await context.hub.broker.close?.()
}
