import type { Heartbeats } from '../connections/heartbeats.ts'
import type { StreamOutlet } from '../connections/stream-outlet.ts'

const proofSpacingMs = 300

/** Sends two timed heartbeats, by which a client sees whether the path buffers (R25). @returns stops it. */
export function proveStreaming(outlet: StreamOutlet): () => void {
  let n = 0
  const timer = setInterval(() => {
    outlet.send({ type: 'heartbeat', at: Date.now(), n: (n += 1) })
    if (n === 2) clearInterval(timer)
  }, proofSpacingMs)
  return () => clearInterval(timer)
}

/** A heartbeat in each interval in which nothing else was sent (R25). @returns stops it. */
export function beat(heartbeats: Heartbeats, outlet: StreamOutlet): () => void {
  return heartbeats.add({
    get lastWriteAt() {
      return outlet.lastWriteAt
    },
    beat: (message, idle) => {
      if (idle) outlet.send(message)
    },
  })
}

/** @returns cancels it. */
export function rotateAfter(ms: number, rotate: () => void): () => void {
  const timer = setTimeout(rotate, ms)
  timer.unref()
  return () => clearTimeout(timer)
}
