import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { feedBench, Inbox } from './feed-bench.ts'

const keys = [1, 2, 3, 4]
const writers = 8
const roundsPerWriter = 500

describe('a change of the PostgreSQL feed', () => {
  it('is visible to a read begun when it arrives, and each version of a row comes once and in order (C1, C9)', async () => {
    await using bench = await feedBench()
    for (const id of keys) await bench.query('INSERT INTO things VALUES ($1, 0)', [id])
    const reader = new pg.Client(bench.database.url)
    await reader.connect()
    const inbox = new Inbox()
    let stale = 0
    await bench.feed().start(async (batch) => {
      for (const { after } of batch.changes) {
        const { rows } = await reader.query<{ version: number }>('SELECT version FROM things WHERE id = $1', [
          after?.['id'],
        ])
        if ((rows[0]?.version ?? 0) < Number(after?.['version'])) stale += 1
      }
      await inbox.sink(batch)
    })
    await Promise.all(Array.from({ length: writers }, (_, writer) => write(bench.database.url, writer)))
    await inbox.until(({ batches }) => batches.length === writers * roundsPerWriter)
    await reader.end()
    expect(stale).toBe(0)
    for (const id of keys) {
      const versions = inbox.changes.filter(({ after }) => after?.['id'] === id).map(({ after }) => after?.['version'])
      expect(versions).toEqual(versions.map((_, n) => n + 1))
    }
  })
})

/** Many writers of few rows: each waits for another's lock, and commits in groups. */
async function write(url: string, writer: number): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  for (let round = 0; round < roundsPerWriter; round++) {
    const id = keys[(writer + round) % keys.length]
    await client.query('UPDATE things SET version = version + 1 WHERE id = $1', [id])
  }
  await client.end()
}
