import { once } from 'node:events'
import { WebSocket } from 'ws'
import { screen } from './order-page.ts'
import { pool } from './product.ts'
import { app } from './server.ts'

// Serves README.md's example and opens its page: a change by plain SQL must reach it by push.
const origin = await app.listen({ host: '127.0.0.1', port: 0 })
Object.assign(globalThis, { location: { origin }, WebSocket })

const shown = once(screen, 'shown')
const { page } = await import('./page.ts')
expectShown('new', 'poll', await shown)

for (let tries = 0; !page.state.live; tries++) {
  if (tries === 300) throw new Error(`No push after 30 s: ${JSON.stringify(page.state)}`)
  await new Promise((resolve) => setTimeout(resolve, 100))
}
const pushed = once(screen, 'shown')
await pool.query(`UPDATE orders SET status = 'packed' WHERE id = 42`)
expectShown('packed', 'push', await pushed)

page.stop()
await app.close()
await pool.end()
console.log('The example works.')
process.exit(0)

function expectShown(status: string, source: string, seen: unknown[]): void {
  const wanted = JSON.stringify([{ id: 42, status }, source])
  if (JSON.stringify(seen) !== wanted) throw new Error(`The page showed ${JSON.stringify(seen)}, not ${wanted}.`)
}
