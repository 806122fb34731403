import { closeCodes } from '@crossfade/protocol'
import { spreadOf } from './rollout/spread.ts'
import type { TransportContext } from './transports/context.ts'

/** What opening and closing the push gate means for clients (R62). */
export function followGate({ gate, rollout, connections, hub, session }: TransportContext): void {
  let hasBeenOpen = gate.isOpen
  gate.onChange((state, before) => {
    if (state === 'open') {
      // What is in memory may be old: this process may have missed changes.
      if (hasBeenOpen || hub.size > 0) {
        const reset = hub.broker.reset?.('the server did not follow its database for a while')
        reset?.catch((error: unknown) => session.report(error, 'reset of the broker'))
      }
      hasBeenOpen = true
      rollout.resume()
    }
    if (state === 'off') rollout.suspend()
    if (before !== 'open') return
    // A subscription that no longer receives anything must not look alive.
    const spreadMs = spreadOf(connections.size)
    connections.endAll(closeCodes.overloaded, 'This process cannot push now. Reconnect with your cursors.', spreadMs)
  })
}
