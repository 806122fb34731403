import type { PushGate } from './push-gate.ts'

/**
 * Tells, once for each method, that the application says something on a process that stands by: the clients who should hear it are with
 * another process, and brokers in memory share nothing.
 */
export function unheardCalls(gate: PushGate, warn: (message: string) => void): (method: string) => void {
  const told = new Set<string>()
  return (method) => {
    if (gate.state !== 'standby' || told.has(method)) return
    told.add(method)
    warn(
      `crossfade: ${method}() was called on a process that stands by. Clients who follow push are with another process and do not hear of it; they find it by their next read. Change the database, which the other process follows, or serve from one process.`,
    )
  }
}
