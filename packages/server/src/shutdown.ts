import { closeCodes } from '@crossfade/protocol'
import type { FastifyInstance } from 'fastify'
import { spreadOf } from './rollout/spread.ts'
import type { TransportContext } from './transports/context.ts'
import type { UpgradedSockets } from './transports/upgrades.ts'

const drainMs = 5_000

/** Says `bye` to every connection and gives them a moment to read it; what does not go is closed. */
export async function drain(app: FastifyInstance, context: TransportContext, upgraded: UpgradedSockets): Promise<void> {
  const { connections } = context
  connections.endAll(
    closeCodes.goingAway,
    'The server restarts. Come back with your cursors.',
    spreadOf(connections.size),
  )
  const until = performance.now() + drainMs
  while (connections.size > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 20))
  upgraded.destroyAll()
  setTimeout(() => app.server.closeAllConnections(), drainMs).unref()
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
