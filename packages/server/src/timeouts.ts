import type { FastifyInstance } from 'fastify'
import type { Heartbeats } from './connections/heartbeats.ts'
import type { Limits } from './limits.ts'

/**
 * Keeps heartbeats and held requests below the time-outs that the application has for its own requests: `connectionTimeout` (or `server.timeout`), which
 * closes a silent connection, and `handlerTimeout`. Half of it is left for the handler and the network. A heartbeat may be almost two intervals
 * after the message before it, so its interval is a third.
 * Each reduction is logged.
 */
export function fitTimeouts(app: FastifyInstance, limits: Limits, heartbeats: Heartbeats): void {
  const silenceMs = app.server.timeout || Infinity
  const { handlerTimeout } = app.initialConfig as { handlerTimeout?: number }
  const handlerMs = handlerTimeout || Infinity
  const fitting = {
    heartbeatMs: Math.min(limits.heartbeatMs, partOf(silenceMs, 3)),
    maxHoldMs: Math.min(limits.maxHoldMs, partOf(silenceMs, 2), partOf(handlerMs, 2)),
  }
  const cut = (Object.keys(fitting) as (keyof typeof fitting)[]).filter((name) => fitting[name] < limits[name])
  const told = cut.map((name) => `${name} is ${fitting[name]} in place of ${limits[name]}`)
  if (told.length > 0)
    app.log.warn(
      `crossfade: ${told.join(', and ')}, to stay below connectionTimeout (or server.timeout) and handlerTimeout.`,
    )
  Object.assign(limits, fitting)
  heartbeats.beatEvery(limits.heartbeatMs)
}

/** How long a request of a route may be held: its `handlerTimeout` counts from the start of the request. */
export function holdWithin(waitMs: number, handlerTimeoutMs: number | undefined): number {
  return Math.min(waitMs, partOf(handlerTimeoutMs || Infinity, 2))
}

function partOf(ms: number, parts: number): number {
  return Math.max(1, Math.floor(ms / parts))
}
