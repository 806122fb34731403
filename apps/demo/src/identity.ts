import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import cookie from '@fastify/cookie'
import { CrossfadeError } from '@crossfade/protocol'
import type { Database } from './database.ts'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { eq, sql } from 'drizzle-orm'
import { users } from './schema.ts'
import { problem } from './problem.ts'

/** Who is logged in. */
export interface User {
  readonly id: number
  readonly name: string
}

declare module 'fastify' {
  interface FastifyRequest {
    user: User | null
  }
}

export const cookieName = 'demo_token'

/** Demo identity: anybody who enters a name gets a signed token for it. The key is kept in the database, so tokens survive restarts. */
export class Tokens {
  readonly #key: Buffer

  private constructor(key: Buffer) {
    this.#key = key
  }

  static async load(database: Database): Promise<Tokens> {
    await database.execute(
      sql`INSERT INTO demo_settings VALUES ('token_key', ${randomBytes(32).toString('hex')}) ON CONFLICT DO NOTHING`,
    )
    const { rows } = await database.execute<{ value: string }>(
      sql`SELECT value FROM demo_settings WHERE name = 'token_key'`,
    )
    return new Tokens(Buffer.from(rows[0]?.value ?? '', 'hex'))
  }

  issue(user: User): string {
    const body = Buffer.from(JSON.stringify(user)).toString('base64url')
    return `${body}.${this.#sign(body)}`
  }

  /** @returns `null` when the token is not one of ours. */
  read(token: string): User | null {
    const [body = '', signature = ''] = token.split('.')
    const expected = Buffer.from(this.#sign(body))
    const given = Buffer.from(signature)
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null
    return JSON.parse(Buffer.from(body, 'base64url').toString()) as User
  }

  /** The operator's token is derived from the same key. */
  get operator(): string {
    return this.#sign('operator').slice(0, 24)
  }

  #sign(body: string): string {
    return createHmac('sha256', this.#key).update(body).digest('base64url')
  }
}

/** Sets `request.user` from the bearer token or the cookie, and adds `POST /api/login`. */
export async function registerIdentity(app: FastifyInstance, database: Database, tokens: Tokens): Promise<void> {
  await app.register(cookie)
  app.decorateRequest('user', null)
  app.addHook('onRequest', async (request) => {
    const token = tokenOf(request.headers)
    request.user = token === null ? null : tokens.read(token)
  })
  app.post<{ Body: { name: string } }>(
    '/api/login',
    {
      schema: {
        body: {
          type: 'object',
          required: ['name'],
          properties: { name: { type: 'string', minLength: 1, maxLength: 60 } },
        },
      },
    },
    async (request, reply) => {
      const name = request.body.name.trim()
      if (name === '') return problem(reply, 400, 'The name is empty.')
      await database.insert(users).values({ name }).onConflictDoNothing()
      const [user] = await database.select().from(users).where(eq(users.name, name))
      if (user === undefined) return problem(reply, 500, 'The user could not be made.')
      const token = tokens.issue(user)
      void reply.setCookie(cookieName, token, { path: '/', httpOnly: true, sameSite: 'lax' })
      return { token, user }
    },
  )
}

/** Answers 401 to callers that are not logged in. */
export async function requireUser(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | void> {
  if (request.user === null) return problem(reply, 401, 'Log in first: POST /api/login {"name": "…"}.')
}

/** Identifies a client by its headers for the push endpoints, just as the product's own endpoints do. */
export function principalOf(
  tokens: Tokens,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): { id: string; name: string } | null {
  const token = tokenOf(headers)
  if (token === null) return null
  const user = tokens.read(token)
  if (user !== null) return { id: String(user.id), name: user.name }
  throw new CrossfadeError('unauthenticated', 'The token is not valid. Log in again.')
}

function tokenOf(headers: Readonly<Record<string, string | string[] | undefined>>): string | null {
  const { authorization, cookie: cookies } = headers
  if (typeof authorization === 'string' && authorization.startsWith('Bearer ')) return authorization.slice(7)
  const match = new RegExp(`(?:^|;\\s*)${cookieName}=([^;]+)`).exec(typeof cookies === 'string' ? cookies : '')
  // Our tokens need no decoding: base64url and a dot. One that does is not ours.
  return match?.[1] ?? null
}
