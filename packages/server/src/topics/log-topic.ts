import type { Entry } from '../brokers/broker.ts'
import { Batch, type Line } from '../delivery/batch.ts'
import { entryLine } from '../delivery/lines.ts'
import { LiveTopic } from './live-topic.ts'
import type { Subscriber } from '../delivery/subscriber.ts'

/** A live log topic: every event counts, in order. */
export class LogTopic extends LiveTopic {
  flush(): void {
    const entries = this.pending
    const first = entries[0]
    const last = entries.at(-1)
    if (first === undefined || last === undefined) return
    this.pending = []
    const { epoch } = this.state
    const events = new Batch(entries.map((entry) => entryLine(this.address.name, epoch, entry)))
    let changed: Batch | null = null
    for (const subscriber of this.subscribers) {
      if (subscriber.offset >= last.offset) continue
      if (subscriber.paged && subscriber.mode === 'events') {
        fill(subscriber, entries, events.lines)
        continue
      }
      subscriber.offset = last.offset
      if (subscriber.mode === 'changes') subscriber.deliver((changed ??= this.changedBatch()))
      else subscriber.deliver(events)
    }
  }
}

/** Gives a subscriber as many entries as its answer takes: its offset stays before the first entry that it did not get (R9). */
function fill(subscriber: Subscriber, entries: readonly Entry[], lines: readonly Line[]): void {
  for (const [index, entry] of entries.entries()) {
    if (entry.offset <= subscriber.offset) continue
    if (subscriber.congested()) return
    subscriber.offset = entry.offset
    subscriber.deliver(new Batch(lines.slice(index, index + 1)))
  }
}
