import { expect, it } from 'vitest'
import { slotFor } from '../src/slot.ts'
import { startProduct } from './product.ts'

it('keeps its name on the demo’s own database, and has the database’s name in it elsewhere', () => {
  expect(slotFor('postgres')).toBe('crossfade_demo')
  expect(slotFor('shop_2')).toBe('crossfade_demo_shop_2')
})

it('is a name that a slot can have, and one for each database', () => {
  const databases = ['My-Shop', 'my-shop', 'my_shop', 'läden', 'x'.repeat(63), `${'x'.repeat(62)}y`, ' ', 'Postgres']
  const names = databases.map(slotFor)
  for (const name of names) expect(name).toMatch(/^[a-z0-9_]{1,63}$/)
  expect(new Set(names).size).toBe(databases.length)
})

it('lets two demos run on two databases of one server', async () => {
  const [one, two] = [await startProduct(), await startProduct()]
  try {
    const slots = await one.database.query<{ slot: string; database: string }>(
      'SELECT slot_name AS slot, database FROM pg_replication_slots',
    )
    for (const { database } of [one, two]) {
      const name = new URL(database.url).pathname.slice(1)
      expect(slots).toContainEqual({ slot: `crossfade_demo_${name}`, database: name })
    }
  } finally {
    await one.close()
    await two.close()
  }
})
