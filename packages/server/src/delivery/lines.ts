import { formatCursor } from '@crossfade/protocol'
import type { Entry, LogState } from '../brokers/broker.ts'
import type { Line } from './batch.ts'

/** The `event` message of a log's entry, or of a value topic's `patch` (PROTOCOL §5). */
export function entryLine(topic: string, epoch: string, entry: Entry): Line {
  return eventLine(topic, formatCursor(epoch, entry.offset), entry.event, entry.data, entry.at, entry.hash, entry.key)
}

/** The `snapshot` event of a value topic's newest value. */
export function snapshotLine(topic: string, state: LogState): Line {
  const snapshot = state.snapshot
  if (snapshot === null) throw new Error(`topic ${topic} has no value to send`)
  return eventLine(topic, formatCursor(state.epoch, state.head), 'snapshot', snapshot.data, snapshot.at, snapshot.hash)
}

/** The `changed` message of stage `hint`: re-read the endpoint after a random time up to `waitMs`. */
export function changedLine(topic: string, cursor: string, waitMs: number): Line {
  return { text: JSON.stringify({ type: 'changed', topic, cursor, wait: waitMs }), cursor }
}

/** Built by hand because `data` is JSON text already: it is never parsed and serialized again. */
function eventLine(
  topic: string,
  cursor: string,
  event: string,
  data: string,
  at: number,
  hash?: string,
  key?: string,
): Line {
  const head = `{"type":"event","topic":${JSON.stringify(topic)},"cursor":"${cursor}","event":${JSON.stringify(event)},"data":`
  const tail = `${hash === undefined ? '' : `,"hash":"${hash}"`}${key === undefined ? '' : `,"key":${JSON.stringify(key)}`},"at":${at}}`
  return { text: head + data + tail, cursor }
}
