import { randomUUID } from 'node:crypto'
import { seededRandom, type Random } from '@crossfade/testkit'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { groups, headersOf, languages, openClub, rooms, stampsIn, users, type Club } from './club.ts'
import { Socket } from './socket.ts'
import { Stream } from './stream.ts'

/** One login of one user, with everything that it ever received. */
interface Visitor {
  readonly user: string | null
  readonly headers: Record<string, string>
  readonly language: string | undefined
  readonly sockets: Socket[]
  readonly streams: Stream[]
  /** Bodies of plain answers, with what was asked. */
  readonly answers: { how: string; text: string }[]
}

/** What anybody may ask for by name. */
const topics: readonly string[] = [
  'me',
  'me?tab=a',
  'team',
  'news/1',
  'news/2',
  'greeting',
  'careless',
  'markers',
  ...users.flatMap((user) => [`mine/${user}`, `users/${user}/box`, `letters/${user}`, `desk/${user}`, `inbox/${user}`]),
  ...rooms.map((room) => `rooms/${room}/talk`),
]
const paths: readonly string[] = [
  '/me',
  '/me?tab=a',
  '/team',
  '/news/1',
  '/greeting',
  '/careless',
  '/mine',
  '/desk',
  '/inbox',
  ...users.map((user) => `/users/${user}/box`),
  ...rooms.map((room) => `/rooms/${room}/talk`),
]

let club: Club
afterEach(() => club.app.close())

/** The owners whose values a visitor may see. */
function mayRead(visitor: Visitor, entered: ReadonlySet<string>): Set<string> {
  const { user } = visitor
  const own = user === null ? ['nobody'] : [user, groups[user] as string]
  const inRooms = rooms.filter((room) => entered.has(`${String(user)} ${room}`)).map((room) => `room ${room}`)
  return new Set(['everybody', `language ${visitor.language ?? 'none'}`, ...own, ...inRooms])
}

/** Acts at random as some visitor, by some transport, on some topic, with cursors and hashes that belong to anybody. */
class Crowd {
  readonly visitors: Visitor[]
  /** `user room` of everybody who ever was allowed in. */
  readonly entered = new Set<string>()
  readonly #random: Random
  readonly #origin: string
  readonly #cursors: string[] = []
  readonly #hashes: string[] = []

  constructor(random: Random, origin: string) {
    this.#random = random
    this.#origin = origin
    const logins: [string | null, Record<string, string>][] = [
      [null, {}],
      ...users.flatMap((user): [string, Record<string, string>][] => [
        [user, headersOf(user, 'bearer')],
        [user, headersOf(user, 'cookie')],
      ]),
    ]
    this.visitors = logins.map(([user, headers]) => {
      const language = random.pick([undefined, ...languages])
      return {
        user,
        headers: language === undefined ? headers : { ...headers, 'accept-language': language },
        language,
        sockets: [],
        streams: [],
        answers: [],
      }
    })
  }

  /** Everybody takes what is properly theirs, by every transport. */
  async begin(): Promise<void> {
    for (const visitor of this.visitors) {
      const { user, headers } = visitor
      const own = [
        'news/1',
        'greeting',
        ...(user === null
          ? []
          : ['me', 'team', `mine/${user}`, `desk/${user}`, `inbox/${user}`, `users/${user}/box`, `letters/${user}`]),
        ...rooms.filter((room) => this.entered.has(`${String(user)} ${room}`)).map((room) => `rooms/${room}/talk`),
      ]
      await this.#openSocket(visitor)
      visitor.sockets[0]?.send(...own.map((topic) => ({ type: 'subscribe', id: topic, topic })))
      const body = { topics: Object.fromEntries(own.map((topic) => [topic, {}])) }
      visitor.streams.push(await Stream.open(`${this.#origin}/crossfade/sse`, { headers, body }))
      const answer = await club.app.inject({ method: 'POST', url: '/crossfade/poll', headers, payload: body })
      this.#note(visitor, 'POST poll', answer.payload)
      for (const url of paths) {
        const plain = await club.app.inject({ url, headers })
        this.#note(visitor, `GET ${url}`, plain.payload, String(plain.headers['crossfade']))
      }
      await until(() => visitor.sockets[0]?.messages.filter(isJoined).length === own.length)
      await until(() => visitor.streams[0]?.messages.filter(isJoined).length === own.length)
    }
    for (const room of rooms) await club.say(room)
  }

  async act(): Promise<void> {
    const visitor = this.#random.pick(this.visitors)
    const action = this.#random.pick<() => Promise<void> | void>([
      () => this.#get(visitor),
      () => this.#get(visitor),
      () => this.#poll(visitor),
      () => this.#poll(visitor),
      () => this.#openSocket(visitor),
      () => this.#subscribe(visitor),
      () => this.#subscribe(visitor),
      () => this.#subscribe(visitor),
      () => this.#renew(visitor),
      () => this.#openStream(visitor),
      () => this.#call(visitor),
      () => this.#change(),
      () => this.#change(),
      () => this.#door(),
      () => this.#expel(),
    ])
    await action()
  }

  /** Shows that everything that was on its way has arrived. */
  async settle(): Promise<void> {
    await club.app.crossfade.publish('markers', 'end', 'end')
    for (const { sockets, streams } of this.visitors) {
      for (const socket of sockets) {
        socket.send({ type: 'subscribe', id: 'end', topic: 'markers', history: 1 })
        await until(() => socket.raw.readyState !== socket.raw.OPEN || socket.messages.some(isEnd))
      }
      for (const stream of streams) stream.close()
    }
  }

  async #get(visitor: Visitor): Promise<void> {
    const url = this.#random.pick(paths)
    const headers: Record<string, string> = { ...visitor.headers }
    if (this.#random.below(2) === 0 && this.#hashes.length > 0)
      headers['if-none-match'] = `W/"${this.#random.pick(this.#hashes)}"`
    if (this.#random.below(4) === 0) headers['prefer'] = 'wait=1'
    const held = club.app.inject({ url, headers })
    if (headers['prefer'] !== undefined) this.#change()
    this.#note(visitor, `GET ${url}`, (await held).payload, String((await held).headers['crossfade']))
  }

  async #poll(visitor: Visitor): Promise<void> {
    const wanted = Object.fromEntries(
      Array.from({ length: 1 + this.#random.below(4) }, () => [this.#random.pick(topics), this.#position()]),
    )
    const { payload } = await club.app.inject({
      method: 'POST',
      url: '/crossfade/poll',
      headers: visitor.headers,
      payload: { topics: wanted, wait: this.#random.pick([0, 0, 30]) },
    })
    this.#note(visitor, `POST poll ${Object.keys(wanted).join()}`, payload)
  }

  async #openSocket(visitor: Visitor): Promise<void> {
    if (visitor.sockets.length >= 2) return
    const socket = await Socket.open(this.#origin, { headers: visitor.headers })
    socket.send({ type: 'hello', protocol: 1 })
    visitor.sockets.push(socket)
  }

  #subscribe(visitor: Visitor): void {
    const socket = visitor.sockets.at(-1)
    socket?.send({ type: 'subscribe', id: randomUUID(), topic: this.#random.pick(topics), ...this.#position() })
  }

  /** One client tries to continue as another. */
  #renew(visitor: Visitor): void {
    visitor.sockets.at(-1)?.send({ type: 'token', token: `token-${this.#random.pick(users)}` })
  }

  async #openStream(visitor: Visitor): Promise<void> {
    if (visitor.streams.length >= 3) return
    const topic = this.#random.pick(topics)
    const lastEventId: Record<string, string> =
      this.#cursors.length > 0 && this.#random.below(2) === 0
        ? { 'last-event-id': this.#random.pick(this.#cursors) }
        : {}
    const headers = { ...visitor.headers, ...lastEventId }
    const open = this.#random.pick([
      () => Stream.open(`${this.#origin}/crossfade/sse?topic=${encodeURIComponent(topic)}`, { headers }),
      () =>
        Stream.open(`${this.#origin}/crossfade/sse`, {
          headers: visitor.headers,
          body: { topics: { [topic]: this.#position(), [this.#random.pick(topics)]: {} } },
        }),
      () =>
        Stream.open(`${this.#origin}${this.#random.pick(paths)}`, {
          headers: { ...headers, accept: 'text/event-stream' },
        }),
    ])
    visitor.streams.push(await open())
  }

  async #call(visitor: Visitor): Promise<void> {
    const id = `one-id-for-all-${this.#random.below(5)}`.padEnd(22, '.')
    visitor.sockets.at(-1)?.send({ type: 'request', id, method: 'whoami', params: null })
    const { payload } = await club.app.inject({
      method: 'POST',
      url: '/crossfade/rpc/whoami',
      headers: { ...visitor.headers, 'idempotency-key': id },
    })
    this.#note(visitor, 'POST rpc', payload)
  }

  #change(): void {
    club.touch(this.#random.pick([...users, 'red', 'blue', 'everybody', 'language de', 'language none']))
    void club.say(this.#random.pick(rooms))
  }

  /** Somebody enters a room. (Leaving is covered by the revocation tests, where the time is exact.) */
  #door(): void {
    const [room, user] = [this.#random.pick(rooms), this.#random.pick(users)]
    if (this.#random.below(3) > 0) return
    club.members.get(room)?.add(user)
    this.entered.add(`${user} ${room}`)
  }

  async #expel(): Promise<void> {
    const user = this.#random.pick(users)
    club.valid.delete(user)
    await club.app.crossfade.revoke(user)
    club.valid.add(user)
  }

  #position(): object {
    if (this.#cursors.length === 0 || this.#random.below(3) === 0) return {}
    return {
      cursor: this.#random.pick(this.#cursors),
      ...(this.#random.below(2) === 0 ? { hash: this.#random.pick(this.#hashes) } : {}),
    }
  }

  #note(visitor: Visitor, how: string, text: string, header: string = ''): void {
    visitor.answers.push({ how, text })
    for (const [cursor] of `${text}${header}`.matchAll(/[a-z0-9]{12}_\d{12}/g)) this.#cursors.push(cursor)
    for (const [, hash] of `${text}${header}`.matchAll(/hash(?:=|":)"([0-9a-f]{16})"/g))
      this.#hashes.push(hash as string)
  }
}

function isJoined({ type }: { type: string }): boolean {
  return type === 'subscribed' || type === 'error'
}

function isEnd(message: { type: string; id?: unknown }): boolean {
  return message.id === 'end'
}

async function until(holds: () => boolean): Promise<void> {
  await vi.waitUntil(holds, { timeout: 30_000, interval: 5 })
}

/** Everything that arrived at a visitor, by transport. */
function arrived(visitor: Visitor): { how: string; text: string }[] {
  return [
    ...visitor.answers,
    ...visitor.sockets.map((socket) => ({ how: 'WebSocket', text: JSON.stringify(socket.messages) })),
    ...visitor.streams.map((stream) => ({ how: 'SSE', text: stream.text })),
  ]
}

describe('one principal never sees the answer of another (R14)', () => {
  it.each([1, 2, 3, 4])(
    'on any transport, by any credentials, whatever is asked for, seed %i',
    async (seed) => {
      const random = seededRandom(seed)
      club = await openClub({
        grantMs: 50,
        limits: { messagesPerSecond: 10_000, messageBurst: 10_000, maxConnectionsPerPrincipal: 500, lingerMs: 5 },
      })
      const crowd = new Crowd(random, await club.app.listen({ host: '127.0.0.1', port: 0 }))
      for (const room of rooms) {
        for (const user of users) {
          if (random.below(2) === 0) continue
          club.members.get(room)?.add(user)
          crowd.entered.add(`${user} ${room}`)
        }
      }
      await crowd.begin()
      for (let step = 0; step < 250; step++) {
        // Several concurrently, so that loads, joins and revocations overlap.
        await Promise.all(Array.from({ length: 1 + random.below(3) }, () => crowd.act()))
      }
      await crowd.settle()

      for (const visitor of crowd.visitors) {
        const allowed = mayRead(visitor, crowd.entered)
        const seen: Record<string, Set<string>> = {
          GET: new Set(),
          POST: new Set(),
          WebSocket: new Set(),
          SSE: new Set(),
        }
        for (const { how, text } of arrived(visitor)) {
          const stamps = [...stampsIn(text)]
          const foreign = stamps.filter((owner) => !allowed.has(owner))
          expect({ seed, user: visitor.user, how, foreign }).toEqual({ seed, user: visitor.user, how, foreign: [] })
          for (const owner of stamps) seen[how.split(' ')[0] as string]?.add(owner)
        }
        // Silence proves nothing: the visitor's own values did arrive, by every transport.
        for (const [how, owners] of Object.entries(seen)) {
          const missing = [...allowed].filter(
            (owner) => !owners.has(owner) && owner !== 'nobody' && !owner.startsWith('room'),
          )
          expect({ how, user: visitor.user, missing }).toEqual({ how, user: visitor.user, missing: [] })
        }
      }
    },
    120_000,
  )
})
