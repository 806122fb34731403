import type { Progress } from './progress.ts'
import type { SetupResult } from './setup.ts'

/** Why changes since the last handled one may be missing from the stream; `null`: they are all there. */
export function lossOf(
  progress: Progress,
  { source, slot, added }: Pick<SetupResult, 'source' | 'slot' | 'added'>,
): string | null {
  if (progress.source !== null && progress.source !== source)
    return `the database is ${source} and was ${progress.source}`
  if (slot.recreatedBecause !== null) return progress.continues ? slot.recreatedBecause : null
  if (progress.acknowledged > 0n && slot.confirmed > progress.acknowledged) {
    return 'another process has read the replication slot'
  }
  return added.length > 0 ? `${added.join(', ')} was not published for a while` : null
}
