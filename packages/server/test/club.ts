import { CrossfadeError } from '@crossfade/protocol'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import crossfade, { type CrossfadeOptions, type Principal } from '../src/index.ts'

type Headers = FastifyRequest['headers']

/** The members of the club and the group of each. */
export const groups: Readonly<Record<string, string>> = { u0: 'red', u1: 'blue', u2: 'red', u3: 'blue', u4: 'red' }
export const users: readonly string[] = Object.keys(groups)
export const rooms: readonly string[] = ['attic', 'cellar', 'hall']
export const languages: readonly string[] = ['de', 'fr']

/** A product whose every answer is stamped with its owner, so that any byte that leaks shows. */
export interface Club {
  readonly app: FastifyInstance
  /** Who may enter which room. */
  readonly members: Map<string, Set<string>>
  /** Users whose token is still valid. */
  readonly valid: Set<string>
  /** Changes everything that belongs to an owner: every reader gets a new value. */
  touch(owner: string): void
  /** Says something in a room. */
  say(room: string): Promise<void>
}

/** The stamp of an owner, which appears in each of its values and nowhere else. */
export function stamp(owner: string): string {
  return `<<${owner}>>`
}

/** Every owner whose stamp a text contains. */
export function stampsIn(text: string): Set<string> {
  return new Set([...text.matchAll(/<<([^<>]+)>>/g)].map((match) => match[1] as string))
}

/** Headers of a user: a token or a cookie. */
export function headersOf(user: string, kind: 'bearer' | 'cookie', language?: string): Record<string, string> {
  return {
    ...(kind === 'bearer' ? { authorization: `Bearer token-${user}` } : { cookie: `theme=dark; sid=token-${user}` }),
    ...(language === undefined ? {} : { 'accept-language': language }),
  }
}

export async function openClub(options: CrossfadeOptions = {}): Promise<Club> {
  const app = Fastify({ forceCloseConnections: true })
  const versions = new Map<string, number>()
  const members = new Map(rooms.map((room) => [room, new Set<string>()]))
  const valid = new Set(users)
  const said = new Map<string, number>()

  const userOf = (headers: Headers): string | null => {
    const bearer = /^Bearer token-(\w+)/.exec(String(headers.authorization))?.[1]
    const cookie = /sid=token-(\w+)/.exec(String(headers.cookie))?.[1]
    const user = bearer ?? cookie
    if (user === undefined) return null
    if (!valid.has(user)) throw new CrossfadeError('unauthenticated', 'The token is not good any more.')
    return user
  }
  const caller = (request: FastifyRequest): string | null => {
    try {
      return userOf(request.headers)
    } catch {
      return null
    }
  }
  const value = (owner: string): object => ({ owner: stamp(owner), version: versions.get(owner) ?? 0 })
  const principal = (headers: Headers): Principal | null => {
    const id = userOf(headers)
    return id === null ? null : { id, group: groups[id] }
  }

  await app.register(crossfade, { authenticate: ({ headers }) => principal(headers), ...options })
  /** Answers callers that are logged in; the token may have become invalid since an earlier hook checked it. */
  const loggedIn =
    (answer: (user: string, request: FastifyRequest) => object) =>
    async (request: FastifyRequest, reply: FastifyReply) => {
      const user = caller(request)
      return user === null ? reply.code(401).send({ error: 'login' }) : answer(user, request)
    }
  const userParams = (request: FastifyRequest): Record<string, string> => ({ user: caller(request) ?? '' })

  app.get('/mine', { config: { crossfade: { topic: 'mine/:user', params: userParams } } }, loggedIn(value))
  app.get<{ Params: { user: string } }>(
    '/users/:user/box',
    { config: { crossfade: { topic: 'users/:user/box' } } },
    async (request, reply) => {
      const user = caller(request)
      return user === request.params.user ? value(user) : reply.code(403).send({ error: 'not yours' })
    },
  )
  app.get(
    '/me',
    { config: { crossfade: { topic: 'me', query: ['tab'] } } },
    loggedIn((user, request) => ({ ...value(user), query: request.query })),
  )
  app.get(
    '/team',
    { config: { crossfade: { topic: 'team', audience: { group: (who: Principal) => String(who['group']) } } } },
    loggedIn((user) => value(groups[user] as string)),
  )
  // Only the credentials decide whose it is; the group shares a key, and yet nobody gets another's desk.
  app.get(
    '/desk',
    {
      config: {
        crossfade: {
          topic: 'desk/:user',
          params: userParams,
          audience: { group: (who: Principal) => String(who['group']) },
        },
      },
    },
    loggedIn(value),
  )
  app.get('/inbox', { config: { crossfade: { log: 'inbox/:user', key: 'id', params: userParams } } }, loggedIn(value))
  app.get('/news/:id', { config: { crossfade: { topic: 'news/:id', audience: 'public' } } }, () =>
    Promise.resolve(value('everybody')),
  )
  app.get(
    '/greeting',
    { config: { crossfade: { topic: 'greeting', audience: 'public', vary: ['Accept-Language'] } } },
    (request) => Promise.resolve(value(`language ${request.headers['accept-language'] ?? 'none'}`)),
  )
  // Declared public, but is not: the answer is the caller's own.
  app.get('/careless', { config: { crossfade: { topic: 'careless', audience: 'public' } } }, async (request, reply) =>
    reply.header('cache-control', 'private').send(value(caller(request) ?? 'everybody')),
  )
  app.get<{ Params: { room: string } }>(
    '/rooms/:room/talk',
    { config: { crossfade: { log: 'rooms/:room/talk', key: 'id' } } },
    async (request, reply) => {
      const { room } = request.params
      const user = caller(request)
      if (user === null || members.get(room)?.has(user) !== true) return reply.code(403).send({ error: 'not in' })
      return { ...value(`room ${room}`), said: said.get(room) ?? 0 }
    },
  )
  app.crossfade.log('letters/:user', {
    authorize: ({ principal: who, params }) => who !== null && who.id === params['user'],
  })
  app.crossfade.log('markers', { public: true })
  app.crossfade.rpc('whoami', {}, ({ principal: who }) => value(who?.id ?? 'nobody'))

  return {
    app,
    members,
    valid,
    touch(owner) {
      versions.set(owner, (versions.get(owner) ?? 0) + 1)
      for (const name of ['me', 'me?tab=a', 'team', 'greeting', 'careless', 'news/1', 'news/2']) {
        app.crossfade.invalidate(name)
      }
      for (const user of users) {
        app.crossfade.invalidate(`mine/${user}`)
        app.crossfade.invalidate(`desk/${user}`)
        app.crossfade.invalidate(`users/${user}/box`)
      }
    },
    async say(room) {
      const n = (said.get(room) ?? 0) + 1
      said.set(room, n)
      await app.crossfade.publish(
        `rooms/${room}/talk`,
        'said',
        { id: n, owner: stamp(`room ${room}`) },
        { key: String(n) },
      )
      for (const user of users) {
        for (const topic of [`letters/${user}`, `inbox/${user}`]) {
          await app.crossfade.publish(topic, 'letter', { id: n, owner: stamp(user) })
        }
      }
    },
  }
}
