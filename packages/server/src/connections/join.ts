import { formatCursor, parseCursor, type CursorParts } from '@crossfade/protocol'
import type { Broker, Entry, LogState } from '../brokers/broker.ts'
import { Batch } from '../delivery/batch.ts'
import { changedLine, entryLine } from '../delivery/lines.ts'
import type { LogTopic } from '../topics/log-topic.ts'
import type { ValueTopic } from '../topics/value-topic.ts'
import type { Outlet } from './outlet.ts'
import type { Subscription } from './subscription.ts'

/** The point from which a client resumes. */
export interface ResumePoint {
  readonly cursor?: string | undefined
  readonly hash?: string | undefined
  readonly history?: number | undefined
  /** The client has been told that the topic is stale. */
  readonly stale?: boolean | undefined
}

/** Bytes of history that are read and written in one step (R9). */
const pageBytes = 64 * 1024

/** How a value topic's subscription begins. */
type ValueStart =
  /** The client has the newest value. */
  | { readonly kind: 'current'; readonly knowsHash: boolean }
  /** The patches after its cursor lead to the newest value. */
  | { readonly kind: 'patches'; readonly entries: readonly Entry[] }
  /** The client gets the whole value; `recovered` as in R3 and R4. */
  | { readonly kind: 'snapshot'; readonly recovered: boolean; readonly differs: boolean }

/**
 * Joins a value topic: once there is room for its value, recovery and attachment happen in one synchronous step, for exactly the state
 * that was recovered, so that nothing falls in between.
 */
export async function joinValue(
  subscription: Subscription,
  topic: ValueTopic,
  from: ResumePoint,
  broker: Broker,
  outlet: Outlet,
): Promise<void> {
  const cursor = from.cursor === undefined ? null : parseCursor(from.cursor)
  let reloaded = false
  for (;;) {
    await topic.ready(subscription.identity)
    if (!(await outlet.waitForCapacity())) return subscription.postpone(cursor)
    if (!(await subscription.verified())) return
    if (cursor?.epoch === topic.state.epoch && from.hash === undefined) await topic.restate(cursor.offset)
    const state = topic.state
    const start = await valueStart(topic, cursor, from.hash, broker)
    if (subscription.ended) return
    // Whether the client may read it is no longer known: everything is checked again once it is.
    if (subscription.suspended) continue
    if (start.kind === 'snapshot' && start.differs && !reloaded) {
      // The client may have a newer value than this topic, from a REST answer: it must not get an older one (R6, R8).
      reloaded = true
      await topic.reload(subscription.identity)
    } else if (isSame(topic.state, state) && !outlet.congested()) return beginValue(subscription, topic, cursor, start)
  }
}

function isSame(now: LogState, before: LogState): boolean {
  return now.epoch === before.epoch && now.head === before.head && now.snapshot !== null
}

async function valueStart(
  topic: ValueTopic,
  cursor: CursorParts | null,
  hash: string | undefined,
  broker: Broker,
): Promise<ValueStart> {
  const state = topic.state
  if (cursor === null) return { kind: 'snapshot', recovered: true, differs: false }
  if (cursor.epoch !== state.epoch || cursor.offset > state.head || cursor.offset < state.birth) {
    return { kind: 'snapshot', recovered: false, differs: hash !== undefined && hash !== state.snapshot?.hash }
  }
  if (cursor.offset === state.head) {
    if (hash === undefined || topic.isCurrent(hash))
      return { kind: 'current', knowsHash: hash === state.snapshot?.hash }
    return { kind: 'snapshot', recovered: true, differs: true }
  }
  if (hash === undefined) return { kind: 'snapshot', recovered: true, differs: false }
  const page = await broker.read(topic.address.key, cursor.offset - 1, state.snapshot?.data.length ?? 0)
  const [base, ...entries] = page.entries
  if (base?.offset !== cursor.offset || base.hash === undefined)
    return { kind: 'snapshot', recovered: true, differs: false }
  if (base.hash !== hash) return { kind: 'snapshot', recovered: true, differs: true }
  const complete = entries.at(-1)?.offset === topic.state.head && entries.every((entry) => entry.event === 'patch')
  return complete ? { kind: 'patches', entries } : { kind: 'snapshot', recovered: true, differs: false }
}

function beginValue(
  subscription: Subscription,
  topic: ValueTopic,
  cursor: CursorParts | null,
  start: ValueStart,
): void {
  const state = topic.state
  const hints = subscription.mode === 'changes'
  const recovered = start.kind !== 'snapshot' || start.recovered
  const own = recovered && cursor !== null ? formatCursor(cursor.epoch, cursor.offset) : null
  subscription.epoch = state.epoch
  subscription.subscribed(own ?? formatCursor(state.epoch, hints ? state.head : 0), recovered)
  subscription.needsSnapshot = !(start.kind === 'patches' || (start.kind === 'current' && start.knowsHash))
  if (hints) {
    if (own !== null && start.kind !== 'current')
      subscription.deliver(new Batch([changedLine(subscription.name, topic.cursor, 0)]))
  } else if (start.kind === 'patches') {
    subscription.deliver(new Batch(start.entries.map((entry) => entryLine(subscription.name, state.epoch, entry))))
  } else if (start.kind === 'snapshot') {
    subscription.needsSnapshot = false
    subscription.deliver(topic.snapshotBatch())
  }
  subscription.offset = state.head
  topic.attach(subscription)
  subscription.tellStaleness(topic)
}

/**
 * Goes on with a value topic after a suspension: in one synchronous step it delivers the newest value, if the client lacks it, and everything
 * after that; and that the topic is fresh when nothing is missing any more.
 */
export async function rejoinValue(subscription: Subscription, topic: ValueTopic): Promise<void> {
  const { state } = topic
  if (subscription.epoch !== state.epoch) subscription.reset(state, 'a new epoch began while events were withheld')
  topic.attach(subscription)
  // A full connection gets it once it has drained.
  if (!subscription.congested()) topic.catchUp(subscription)
  await topic.caughtUp()
  if (!subscription.ended && !subscription.suspended) subscription.tellStaleness(topic)
}

/**
 * Joins a log topic: sends what the client's cursor does not cover, a page at a time as the connection drains (R9), then attaches.
 */
export async function joinLog(
  subscription: Subscription,
  topic: LogTopic,
  from: ResumePoint,
  broker: Broker,
  outlet: Outlet,
): Promise<void> {
  const cursor = from.cursor === undefined ? null : parseCursor(from.cursor)
  if (!(await outlet.waitForCapacity())) return subscription.postpone(cursor)
  if (!(await subscription.verified())) return
  const state = topic.state
  const recovered = cursor === null || isCovered(cursor, state)
  subscription.epoch = state.epoch
  if (!recovered) subscription.offset = state.head
  else subscription.offset = cursor?.offset ?? Math.max(state.trimmedUpTo, state.head - (from.history ?? 0))
  subscription.subscribed(subscription.cursor, recovered)
  subscription.tellStaleness(topic)
  await catchUp(subscription, topic, broker, outlet)
}

function isCovered(cursor: CursorParts, state: LogState): boolean {
  return cursor.epoch === state.epoch && cursor.offset >= state.trimmedUpTo && cursor.offset <= state.head
}

/** Sends a log's entries after the subscription's offset, a page at a time (R9), or that there are some, and attaches. */
export async function catchUp(
  subscription: Subscription,
  topic: LogTopic,
  broker: Broker,
  outlet: Outlet,
): Promise<void> {
  while (await subscription.verified()) {
    if (subscription.suspended) continue
    const state = topic.state
    if (state.epoch !== subscription.epoch) subscription.reset(state, 'a new epoch began during the recovery')
    if (subscription.mode === 'changes' && subscription.offset < state.head) {
      subscription.deliver(new Batch([changedLine(subscription.name, topic.cursor, 0)]))
      subscription.offset = state.head
    }
    if (subscription.offset === state.head) {
      topic.attach(subscription)
      subscription.tellStaleness(topic)
      return
    }
    if (!(await outlet.waitForCapacity())) return
    const page = await broker.read(topic.address.key, subscription.offset, pageBytes)
    if (subscription.ended) return
    if (subscription.suspended) continue
    // The other topics of this connection recover at the same time.
    if (outlet.congested()) continue
    if (page.state.epoch !== subscription.epoch) continue
    const first = page.entries[0]
    const last = page.entries.at(-1)
    if (first === undefined || last === undefined || first.offset !== subscription.offset + 1) {
      subscription.reset(topic.state, 'the history ended before the recovery did')
      continue
    }
    subscription.deliverPage(
      new Batch(page.entries.map((entry) => entryLine(subscription.name, subscription.epoch, entry))),
    )
    subscription.offset = last.offset
  }
}
