import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildApp } from './app.ts'
import { explain } from './database-trouble.ts'
import { withoutPassword } from './database-url.ts'
import { buildPage } from './page.ts'
import { DemoPostgres } from './postgres.ts'

const defaultFolder = fileURLToPath(new URL('../.data', import.meta.url))
const { PORT = '3000', HOST = '127.0.0.1', DATABASE_URL, DEMO_SIMULATE = '1', DEMO_DATA = defaultFolder } = process.env

/** What must be ended, last first. */
const cleanups: (() => Promise<void>)[] = []
let ending: Promise<void> | null = null
/** Aborted when the ending begins. */
const ends = new AbortController()

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void end(0))
// Our parent is gone: nobody would stop us.
process.once('disconnect', () => void end(0))

try {
  await main()
} catch (error) {
  if (ending === null) console.error(`The demo did not start: ${messageOf(error)}`)
  await end(1)
}

async function main(): Promise<void> {
  const port = readPort()
  const databaseUrl = DATABASE_URL ?? (await ownDatabase())
  if (ending !== null) return
  const isOwnDatabase = DATABASE_URL === undefined
  // The password of the demo's own database is not a secret; that of another is never printed.
  console.log(`Database ${isOwnDatabase ? databaseUrl : (withoutPassword(databaseUrl) ?? 'of DATABASE_URL')}`)
  const pageFolder = await buildPage()
  const simulate = DEMO_SIMULATE !== '0'
  const building = buildApp({ databaseUrl, isOwnDatabase, simulate, pageFolder }).catch((error: unknown) => {
    throw explain(error, databaseUrl)
  })
  cleanups.push(() => building.then(({ app }) => app.close(), isTold))
  const { app, operatorToken } = await building
  if (ending !== null) return
  const origin = await app.listen({ port, host: HOST })
  console.log(`Operator token ${operatorToken}`)
  console.log(`Crossfade demo ready on ${origin}`)
}

async function ownDatabase(): Promise<string> {
  console.log('Starting PostgreSQL …')
  const starting = DemoPostgres.start(DEMO_DATA, {
    signal: ends.signal,
    say: (line) => console.log(line),
    giveUp: (why) => {
      console.error(`The demo ends: ${why}`)
      void end(1)
    },
  })
  // Asked to end before it has started: it ends as soon as it has.
  cleanups.push(() => starting.then((postgres) => postgres.stop(), isTold))
  const postgres = await starting
  if (!postgres.dataFolder.startsWith(join(DEMO_DATA)))
    console.log(`Its data is in ${postgres.dataFolder}, where its user can reach it.`)
  return postgres.url
}

/** What did not start has nothing to end, and its error has been printed. */
function isTold(): void {}

function readPort(): number {
  const port = Number(PORT)
  if (Number.isInteger(port) && port >= 0 && port < 65_536) return port
  throw new Error(`PORT must be a number from 0 to 65535, got "${PORT}".`)
}

/** Drains and stops, once, however often it is asked. */
function end(code: number): Promise<void> {
  ends.abort()
  ending ??= (async () => {
    for (const cleanup of cleanups.toReversed()) {
      await cleanup().catch((error: unknown) => {
        console.error(messageOf(error))
      })
    }
    process.exit(code)
  })()
  return ending
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE')
    return `the port ${PORT} is taken. Set PORT to another, or to 0 for any.`
  return error.message
}
