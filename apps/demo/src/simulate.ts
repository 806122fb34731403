import { sql } from 'drizzle-orm'
import type { Database } from './database.ts'

const items = [
  'Espresso machine',
  'Coffee beans, 1 kg',
  'Milk jug',
  'Filter papers',
  'Grinder',
  'Tamper',
  'Cups, set of 6',
]
const lines = [
  'Order packed.',
  'Who takes the next one?',
  'The courier is here.',
  'On it!',
  'Nice, all shipped.',
  'Coffee?',
]
const authors = ['Mara', 'Jonas', 'Ife', 'Lin']

/** Other people's work: what makes the page change while nobody touches it. Writes plain SQL, as any program would. */
export function simulate(database: Database): () => void {
  const timers = [
    setInterval(() => void run(tickPrices(database)), 60),
    setInterval(() => void run(moveOrder(database)), 1_500),
    setInterval(() => void run(say(database)), 7_000),
    setInterval(() => void run(notify(database)), 9_000),
  ]
  return () => {
    for (const timer of timers) clearInterval(timer)
  }
}

/** The simulation does not report errors: the database may be down for a moment. */
async function run(work: Promise<unknown>): Promise<void> {
  await work.catch(() => {})
}

function pick<T>(list: readonly T[]): T {
  return list[Math.floor(Math.random() * list.length)] as T
}

function tickPrices(database: Database): Promise<unknown> {
  return database.execute(
    sql`UPDATE prices SET price = round((price * (1 + (random() - 0.5) * 0.004))::numeric, 2)
        WHERE symbol = (SELECT symbol FROM prices ORDER BY random() LIMIT 1)`,
  )
}

/** An order goes on; a new one comes when the board gets empty, and old ones are removed. */
async function moveOrder(database: Database): Promise<void> {
  const { rows } = await database.execute<{ open: number }>(
    sql`SELECT count(*)::int AS open FROM orders WHERE status <> 'done'`,
  )
  if ((rows[0]?.open ?? 0) < 5) {
    await database.execute(
      sql`INSERT INTO orders (item, quantity) VALUES (${pick(items)}, ${1 + Math.floor(Math.random() * 9)})`,
    )
    return
  }
  await database.execute(
    sql`UPDATE orders SET version = version + 1, updated_at = now(),
          status = CASE status WHEN 'new' THEN 'packing' WHEN 'packing' THEN 'shipped' ELSE 'done' END
        WHERE id = (SELECT id FROM orders WHERE status IN ('new', 'packing', 'shipped') ORDER BY random() LIMIT 1)`,
  )
  await database.execute(sql`DELETE FROM orders WHERE status = 'done' AND updated_at < now() - interval '1 hour'`)
}

function say(database: Database): Promise<unknown> {
  return database.execute(
    sql`INSERT INTO messages (room, author, text) VALUES ('general', ${pick(authors)}, ${pick(lines)})`,
  )
}

async function notify(database: Database): Promise<void> {
  await database.execute(
    sql`INSERT INTO notifications (user_id, text) SELECT id, 'Order ' || (SELECT coalesce(max(id), 0) FROM orders) || ' moved on.' FROM users ORDER BY random() LIMIT 1`,
  )
}
