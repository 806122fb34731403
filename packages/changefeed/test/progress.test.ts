import { expect, it } from 'vitest'
import { advance, recordGap, type Progress } from '../src/postgres-replication/progress.ts'

const fresh = (): Progress => ({ source: null, position: null, acknowledged: 0n, continues: true, gap: null })

it('progress does not go back when handled transactions are repeated to be acknowledged (C2)', () => {
  const progress = fresh()
  for (const position of ['02', '08', '03']) advance(progress, position)
  expect(progress.position).toBe('08')
})

it('progress starts over when changes are lost (C4)', () => {
  const progress = { ...fresh(), position: '08', acknowledged: 9n }
  recordGap(progress, 'the slot is gone')
  expect(progress).toMatchObject({ position: null, acknowledged: 0n, gap: 'the slot is gone' })
})
