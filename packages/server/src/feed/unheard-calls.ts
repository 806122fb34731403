import type { PushGate } from './push-gate.ts'

/**
 * Warns, once for each method, that the application publishes on a process that stands by: the clients that should hear it are connected to
 * another process, and in-memory brokers share nothing.
 */
export function warnOfUnheardCalls(gate: PushGate, warn: (message: string) => void): (method: string) => void {
  const told = new Set<string>()
  return (method) => {
    if (gate.state !== 'standby' || told.has(method)) return
    told.add(method)
    warn(
      `crossfade: ${method}() was called on a process that stands by. Clients that follow push are connected to another process and do not hear of it; they find it with their next read. Change the database, which the other process follows, or serve from one process.`,
    )
  }
}
