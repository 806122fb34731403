import { closeCodes } from '@crossfade/protocol'
import { spreadOf } from './rollout/spread.ts'
import type { TransportContext } from './transports/context.ts'

const drainMs = 5_000

/** Something of ours that a client may keep open. */
interface Open {
  destroyAll(): void
}

/**
 * Says `bye` to every connection and gives them a moment to read it; what does not go is closed. What the application has open is its own to
 * end (R10).
 */
export async function drain(context: TransportContext, open: readonly Open[]): Promise<void> {
  const { connections } = context
  connections.isDraining = true
  connections.endAll(
    closeCodes.goingAway,
    'The server restarts. Come back with your cursors.',
    spreadOf(connections.size),
  )
  const until = performance.now() + drainMs
  while (connections.size > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 20))
  for (const kind of open) kind.destroyAll()
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
