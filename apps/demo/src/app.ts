import { postgresReplication } from '@crossfade/changefeed/postgres-replication'
import crossfade from '@crossfade/server'
import { sql } from 'drizzle-orm'
import Fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import { openDatabase, type Database } from './database.ts'
import { withoutPassword } from './database-url.ts'
import { principalOf, registerIdentity, Tokens } from './identity.ts'
import { Middlebox } from './middlebox.ts'
import { migrate } from './migrate.ts'
import { registerPage } from './page.ts'
import { problem } from './problem.ts'
import { registerNotifications } from './routes/notifications.ts'
import { registerOrders } from './routes/orders.ts'
import { registerPrices } from './routes/prices.ts'
import { registerRooms } from './routes/rooms.ts'
import { simulate } from './simulate.ts'
import { slotFor } from './slot.ts'
import { registerStages } from './stages.ts'

/** What the demo is started with. */
export interface AppOptions {
  readonly databaseUrl: string
  /** Whether it is the demo's own, whose password is not a secret. Default `false`: visitors are shown the URL without it. */
  readonly isOwnDatabase?: boolean
  /** Whether other people's work is simulated. */
  readonly simulate: boolean
  /** Where the built page is; `null`: only the API. */
  readonly pageFolder: string | null
}

/** The product: an ordinary polling application, wrapped. */
export async function buildApp(options: AppOptions): Promise<{ app: FastifyInstance; operatorToken: string }> {
  const database = openDatabase(options.databaseUrl)
  await migrate(database.$client)
  const slot = slotFor(await nameOf(database))
  const tokens = await Tokens.load(database)
  const app = Fastify({ forceCloseConnections: 'idle', routerOptions: { maxParamLength: 300 } })
  app.addHook('onClose', () => database.$client.end())
  app.setErrorHandler((error: FastifyError, _request, reply) => {
    const status = isUnstorable(error) ? 400 : (error.statusCode ?? 500)
    return problem(reply, status, status < 500 ? titleOf(error) : 'The server failed.')
  })

  await registerIdentity(app, database, tokens)
  new Middlebox('/crossfade').install(app)
  await app.register(crossfade, {
    feed: postgresReplication({ connectionString: options.databaseUrl, slot }),
    authenticate: ({ headers }) => principalOf(tokens, headers),
    operator: (request) => request.headers.authorization === `Bearer ${tokens.operator}`,
    rollout: {
      'order-board': { stage: 'push' },
      'order-page': { stage: 'push' },
      notifications: { stage: 'push' },
      chat: { stage: 'push' },
      prices: { stage: 'push' },
    },
  })
  registerOrders(app, database)
  registerNotifications(app, database)
  registerRooms(app, database)
  registerPrices(app, database)
  registerStages(app)
  if (options.pageFolder !== null) await registerPage(app, options.pageFolder, shownUrl(options))
  if (options.simulate) {
    const stop = simulate(database)
    app.addHook('preClose', async () => stop())
  }
  return { app, operatorToken: tokens.operator }
}

/** What the database is called: its URL need not say. */
async function nameOf(database: Database): Promise<string> {
  const { rows } = await database.execute<{ name: string }>(sql`SELECT current_database() AS name`)
  return rows[0]?.name ?? ''
}

/** The database's URL as any visitor may see it. */
function shownUrl({ databaseUrl, isOwnDatabase }: AppOptions): string | null {
  return isOwnDatabase === true ? databaseUrl : withoutPassword(databaseUrl)
}

/** Text that PostgreSQL cannot hold, such as the character 0: its `character_not_in_repertoire`. */
function isUnstorable(error: Error): boolean {
  return (error.cause as { code?: string } | undefined)?.code === '22021'
}

/** The message of a query must not reach the caller. */
function titleOf(error: Error): string {
  return isUnstorable(error) ? 'Text must not contain the character 0.' : error.message
}
