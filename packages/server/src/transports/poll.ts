import { parsePollRequest, paths, type PollRequest } from '@crossfade/protocol'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { Session } from '../connections/session.ts'
import type { Identity } from '../identity/principal.ts'
import { pendingStageMessages } from '../rollout/stage-messages.ts'
import type { TransportContext } from './context.ts'
import { admit, requireFewTopics, acquireConnection } from './guard.ts'
import { PollOutlet } from './poll-outlet.ts'

/** How long the topics of a poll wait for one whose endpoint is slow, ms; no longer than the poll itself would be held, but so long at least. */
const joinMs = 1_000
const leastJoinMs = 250

/** Short and long polling of many topics in one request (PROTOCOL §4); they differ in `wait` only. */
export function registerPoll(scope: FastifyInstance, context: TransportContext): void {
  scope.post(paths.poll, async (request, reply) => {
    const identity = await admit(context, request)
    const poll = parsePollRequest(request.body)
    requireFewTopics(context, poll)
    const release = acquireConnection(context, request, identity)
    try {
      return await answer(context, poll, identity, reply)
    } finally {
      release()
    }
  })
}

async function answer(
  context: TransportContext,
  poll: PollRequest,
  identity: Identity,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const hold = new Hold()
  const outlet = new PollOutlet(poll.topics, context.limits.maxAnswerBytes, () => hold.message())
  const session = new Session(context.session, identity, outlet, context.limits.maxTopicsPerConnection)
  const take = context.connections.add({
    tell: (message) => outlet.send(message),
    bye: (code, message, retry) => {
      outlet.send({ type: 'bye', code, message, retry })
      hold.end()
    },
  })
  reply.raw.once('close', () => hold.end())
  try {
    for (const message of pendingStageMessages(context, poll.stagesSince)) outlet.send(message)
    const startedAt = performance.now()
    const joins = Object.entries(poll.topics).map(([topic, from]) => session.subscribe({ topic, ...from }))
    const waitMs = Math.min(poll.wait ?? 0, context.limits.maxHoldMs)
    await settledWithin(joins, waitMs > 0 ? Math.min(joinMs, Math.max(waitMs, leastJoinMs)) : joinMs)
    const live = session.subscriptions.size > 0
    const leftMs = waitMs - (performance.now() - startedAt)
    if (outlet.isEmpty && live && leftMs > 0) await hold.wait(leftMs, context.limits.lingerMs, () => outlet.isFull)
    session.giveUpPending()
    for (const subscription of session.subscriptions.values()) subscription.restateStaleness()
    return await reply
      .header('cache-control', 'no-store')
      .header('content-type', 'application/json; charset=utf-8')
      .send(body(session, outlet))
  } finally {
    take()
    session.close()
  }
}

/** Waits until all topics have answered, or until the time for slow ones has passed. */
async function settledWithin(joins: readonly Promise<void>[], ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))
  await Promise.race([Promise.all(joins), late])
  clearTimeout(timer)
}

/** Built by hand: the messages are JSON text already. */
function body(session: Session, outlet: PollOutlet): string {
  const positions = Object.fromEntries(
    [...session.subscriptions].map(([topic, subscription]) => [topic, { cursor: subscription.cursor }]),
  )
  return `{"messages":${outlet.seal()},"topics":${JSON.stringify(positions)},"more":${outlet.more}}`
}

/** Holds an answer until the first message, lingers for more, and ends at the time limit. */
class Hold {
  #resolve: (() => void) | null = null
  #message: (() => void) | null = null
  #ended = false

  message(): void {
    this.#message?.()
  }

  end(): void {
    this.#ended = true
    this.#resolve?.()
  }

  async wait(waitMs: number, lingerMs: number, full: () => boolean): Promise<void> {
    if (this.#ended) return
    let timer: NodeJS.Timeout | undefined
    let lingering = false
    await new Promise<void>((resolve) => {
      this.#resolve = resolve
      timer = setTimeout(resolve, waitMs)
      this.#message = () => {
        if (full()) resolve()
        if (lingering) return
        lingering = true
        clearTimeout(timer)
        timer = setTimeout(resolve, lingerMs)
      }
    })
    clearTimeout(timer)
  }
}
