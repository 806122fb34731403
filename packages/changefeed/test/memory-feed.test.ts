import { expect, it } from 'vitest'
import { MemoryFeed } from '../src/index.ts'
import { Inbox } from './feed-bench.ts'

it('the memory feed emits what it is given, at growing positions, and waits for the sink', async () => {
  const feed = new MemoryFeed()
  await expect(feed.emit([])).rejects.toMatchObject({ code: 'feed_stopped' })
  const inbox = new Inbox()
  await feed.start(inbox.sink)
  const insert = { table: 'public.things', op: 'insert', before: null, after: { id: 1 } } as const
  await feed.emit([insert])
  await feed.emit([insert, insert])
  expect(inbox.batches.map(({ changes }) => changes.length)).toEqual([1, 2])
  const [first, second] = inbox.batches
  expect((first?.position ?? '') < (second?.position ?? '')).toBe(true)
  expect(feed.status().state).toBe('streaming')
  await feed.stop()
  expect(feed.status().state).toBe('stopped')
})
