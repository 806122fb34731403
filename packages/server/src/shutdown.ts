import { closeCodes } from '@crossfade/protocol'
import { spreadOf } from './rollout/spread.ts'
import type { TransportContext } from './transports/context.ts'
import type { OpenAnswers } from './transports/open-answers.ts'
import type { Upgrades } from './transports/upgrades.ts'

const drainMs = 5_000

/** What clients may keep open of ours. */
interface Open {
  readonly answers: OpenAnswers
  readonly upgrades: Upgrades
}

/**
 * Says `bye` to every connection and gives them a moment to read it, and calls a moment to be answered; what does not go is closed. What the
 * application has open is its own to end (R10).
 */
export async function drain(context: TransportContext, { answers, upgrades }: Open): Promise<void> {
  const { connections } = context
  connections.isDraining = true
  connections.endAll(
    closeCodes.goingAway,
    'The server restarts. Come back with your cursors.',
    spreadOf(connections.size),
  )
  const until = performance.now() + drainMs
  while (connections.size + answers.size > 0 && performance.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 20))
  answers.destroyAll()
  upgrades.destroyAll()
}

/** Ends every timer and forgets every topic. A broker that the application made is the application's to close. */
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
