import { Batch } from './batch.ts'
import { entryLine } from './lines.ts'
import { LiveTopic } from './live-topic.ts'

/** A live log topic: every event counts, in order. */
export class LogTopic extends LiveTopic {
  flush(): void {
    const entries = this.pending
    const first = entries[0]
    const last = entries.at(-1)
    if (first === undefined || last === undefined) return
    this.pending = []
    const { epoch } = this.state
    const events = new Batch(entries.map((entry) => entryLine(this.place.name, epoch, entry)))
    let changed: Batch | null = null
    for (const subscriber of this.subscribers) {
      if (subscriber.offset >= last.offset) continue
      subscriber.offset = last.offset
      if (subscriber.mode === 'changes') subscriber.deliver((changed ??= this.changedBatch()))
      else subscriber.deliver(events)
    }
  }
}
