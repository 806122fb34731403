import { parseCursor, type EventMessage } from '@crossfade/protocol'

// What a client holds of a log topic: the cursor of the last event it applied.

/** What an event did: `next` is given to the application, `old` was given before, `gap` means that some are missing. */
export type LogOutcome = 'next' | 'old' | 'gap'

/** @param cursor where the client stands; `null`: nowhere yet, so that nothing can be next. */
export function placeOf(cursor: string | null, event: EventMessage): LogOutcome {
  if (cursor === null) return 'old'
  const mine = parseCursor(cursor)
  const theirs = parseCursor(event.cursor)
  if (theirs.epoch !== mine.epoch || theirs.offset <= mine.offset) return 'old'
  return theirs.offset === mine.offset + 1 ? 'next' : 'gap'
}
