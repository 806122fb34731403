import { CrossfadeError, hashValue, applyPatch } from '@crossfade/protocol'
import type { Broker, Snapshot, SourcePosition } from '../brokers/broker.ts'
import { Batch } from '../delivery/batch.ts'
import type { FlushCycle } from '../delivery/flush-cycle.ts'
import { entryLine, snapshotLine } from '../delivery/lines.ts'
import type { Staleness } from '../delivery/staleness.ts'
import type { Subscriber } from '../delivery/subscriber.ts'
import type { RunAs } from '../endpoints/endpoint-runner.ts'
import type { TopicAddress } from '../endpoints/topic-address.ts'
import { RunError, type Answer } from '../endpoints/verdict.ts'
import { hasExpired, type Identity } from '../identity/principal.ts'
import { CredentialSource } from './credential-source.ts'
import { difference } from './difference.ts'
import { LiveTopic } from './live-topic.ts'
import { LoadSchedule } from './load-schedule.ts'
import { ReloadAfter } from './reload-after.ts'
import { Sharers } from './sharers.ts'
import { retryAfterOf, staleReasonOf, ValueLoader, type Loaded, type LoaderPorts } from './value-loader.ts'

/** What a value topic needs from outside. */
export interface ValueTopicPorts extends LoaderPorts {
  readonly broker: Broker
  readonly cycle: FlushCycle
  /** Where unexpected errors are reported. */
  readonly report: (error: unknown, context: string) => void
}

/** Why a load is requested: the change's commit time, and its source position. */
export interface Cause {
  readonly at: number
  readonly from?: SourcePosition
}

/** How many answers that differ only in ignored fields are recognised when their readers subscribe. */
const maxVariants = 1_000

/**
 * A live value topic. On a relevant change its endpoint runs once for all subscribers; equal results are dropped, others advance
 * the offset. A change during a run makes it run again (the last change is never missed).
 */
export class ValueTopic extends LiveTopic {
  readonly #ports: ValueTopicPorts
  readonly #schedule: LoadSchedule
  #cause: Cause = { at: Date.now() }
  #snapshots: { head: number; epoch: string; batch: Batch } | null = null
  /** The hash without the ignored fields, of the value with the hash `of`. */
  #equality: { readonly of: string; readonly hash: string } | null = null
  /** Hashes of answers that differ from the value with the hash `of` only in ignored fields. */
  #variants: { readonly of: string; readonly hashes: Set<string> } | null = null
  /** The entity tag that the endpoint itself gave the value with the hash `of`. */
  #ownTag: { readonly of: string; readonly tag: string } | null = null
  /** The offset at which the value was stored without a new entry: answers given at this offset may be older than it. */
  #initialAt: number | null = null
  #closed = false
  readonly #credentials = new CredentialSource()
  readonly #loader: ValueLoader
  readonly #reloadAfter: ReloadAfter
  /** Counts changes that arrived while the value was not needed: a load that began before one must not be stored after it. */
  #missedChanges = 0
  #changes = 0
  /** The identity that the value was read as; `null`: the service. */
  #loadedBy: Identity | null = null
  /** The client whose credentials the next load must use, if any in particular. */
  #nextLoader: Identity | null = null
  /** The clients that are known to get exactly this value. */
  readonly sharers: Sharers = new Sharers()
  /** Since when loads fail. */
  #staleness: Staleness | null = null

  constructor(address: TopicAddress, ports: ValueTopicPorts) {
    super(address, ports.cycle)
    this.#ports = ports
    this.#loader = new ValueLoader(address, ports, this.#credentials)
    this.#reloadAfter = new ReloadAfter(address.definition.reloadAfterMs, () => this.#want())
    this.#schedule = new LoadSchedule({
      minIntervalMs: address.definition.minLoadMs,
      refreshMs: address.definition.refreshMs,
      load: () => this.#load(),
      needed: () => this.needed,
      retryAfterMs: retryAfterOf,
    })
  }

  /** The value may not be the newest: its load failed, and the last good value stays (R55). */
  override get staleness(): Staleness | null {
    return this.#staleness
  }

  /** The identity that the value was read as; `null`: the service. */
  get loadedBy(): Identity | null {
    return this.#loadedBy
  }

  /** The identity that the value was read as; `null`: its credentials have expired. */
  get loadedAs(): RunAs | null {
    const by = this.#loadedBy
    return by !== null && hasExpired(by) ? null : this.#loader.runAs(by)
  }

  /** How many changes were reported so far. */
  get changes(): number {
    return this.#changes
  }

  /** Its endpoint is being asked for the value. */
  get isLoading(): boolean {
    return this.#schedule.isRunning
  }

  get settled(): boolean {
    return this.#schedule.settled
  }

  /** The database changed, or the value is in doubt: the topic has to be loaded again. */
  invalidate(cause: Cause = { at: Date.now() }): void {
    this.#changes += 1
    this.#cause = later(this.#cause, cause)
    this.#want()
    this.#reloadAfter.changed()
  }

  #want(): void {
    if (this.needed) {
      this.#schedule.want()
      return
    }
    // The value is not needed now, but a cursor from an earlier answer must not seem current.
    this.#missedChanges += 1
    this.#ports.broker.append(this.address.key, { kind: 'forget' }).catch((error: unknown) => {
      // The broker still has the old value: the next client that needs it waits for a new one.
      this.#schedule.want()
      this.#ports.report(error, `to note that "${this.address.name}" has changed`)
    })
  }

  /**
   * Waits until the topic has a value.
   *
   * @param identity whose credentials may load it, when it is not public.
   * @throws RunError when the endpoint refuses or fails; CrossfadeError `server_error` when the topic is closed.
   */
  async ready(identity: Identity): Promise<void> {
    this.#credentials.offer(identity)
    // Nobody listens to a stale topic: the first to come does not wait for the next try.
    const isOverdue = this.#schedule.overdue || (this.#staleness !== null && this.subscribers.size === 0)
    if (this.state.snapshot !== null && !isOverdue) return
    try {
      await this.#loaded(identity)
    } catch (error) {
      // The last good value is there, and is marked as stale; a load for everybody does not decide whether this client may read it.
      const isOwnRefusal = error instanceof RunError && error.isRefusal && this.address.definition.audience !== 'public'
      if (isOwnRefusal || this.#closed || this.state.snapshot === null) throw error
    }
    if (this.state.snapshot === null)
      throw new CrossfadeError('server_error', `The value of "${this.address.name}" could not be loaded. Try again.`)
  }

  /** Waits until the value includes every change reported so far and has been delivered to its subscribers, or cannot be loaded. */
  async caughtUp(): Promise<void> {
    await this.#schedule.caughtUp()
    this.flush()
  }

  /** Waits for a load that begins after this call; a failure leaves the last good value. */
  async reload(identity: Identity): Promise<void> {
    await this.#loaded(identity).catch(() => {})
  }

  /** Loads once more with the credentials that loaded the value; a failure leaves the last good value. */
  async reloadAsBefore(): Promise<void> {
    this.#nextLoader = this.#loadedBy
    await this.#schedule.next().catch(() => {})
  }

  /** The value for subscribers is read with credentials that are known to get that value, not with those of a client that is only about to join. */
  #mayLoad(identity: Identity): boolean {
    const { audience, authorize } = this.address.definition
    return (
      typeof audience === 'string' || authorize !== null || this.subscribers.size === 0 || this.sharers.has(identity)
    )
  }

  #takeNextLoader(): Identity | null {
    const next = this.#nextLoader
    this.#nextLoader = null
    return next
  }

  /** Waits for a load. The endpoint may refuse another client and still answer this one: then this waits for one more load (R54). */
  async #loaded(identity: Identity): Promise<void> {
    await this.#credentials.during(identity, async () => {
      for (;;) {
        try {
          return await this.#schedule.next()
        } catch (error) {
          const another = this.address.definition.audience !== 'public' && this.#credentials.isPromising(identity)
          if (!another || !(error instanceof RunError && error.isRefusal)) throw error
        }
      }
    })
  }

  override attach(subscriber: Subscriber): void {
    super.attach(subscriber)
    this.#schedule.resume()
  }

  override detach(subscriber: Subscriber): void {
    super.detach(subscriber)
    if (!this.needed) this.#schedule.pause()
  }

  /**
   * A client at the newest offset cannot say which value it has: after a plain answer it may be older than the first value that was
   * stored at that offset. A new entry with the same value makes sure that the client gets it (R6).
   */
  async restate(offset: number): Promise<void> {
    const { snapshot, head } = this.state
    if (snapshot === null || head !== offset || this.#initialAt !== offset) return
    await this.#ports.broker.append(this.address.key, { kind: 'value', value: snapshot, patch: '[]' })
  }

  override close(): void {
    this.#closed = true
    this.#schedule.stop()
    this.#reloadAfter.stop()
    super.close()
  }

  /** The newest value, for subscribers that skipped versions or have no value; its bytes are shared. */
  snapshotBatch(): Batch {
    const state = this.state
    if (this.#snapshots?.head !== state.head || this.#snapshots.epoch !== state.epoch) {
      this.#snapshots = {
        head: state.head,
        epoch: state.epoch,
        batch: new Batch([snapshotLine(this.address.name, state)]),
      }
    }
    return this.#snapshots.batch
  }

  flush(): void {
    const entries = this.pending
    this.pending = []
    const state = this.state
    if (state.snapshot === null) return
    const first = entries[0]?.offset ?? state.head + 1
    let patches: Batch | null = null
    let changed: Batch | null = null
    const patchable =
      entries.length > 0 && entries.at(-1)?.offset === state.head && entries.every((entry) => entry.event === 'patch')
    for (const subscriber of this.subscribers) {
      if (subscriber.offset >= state.head) continue
      if (subscriber.congested()) continue
      if (subscriber.mode === 'changes') subscriber.deliver((changed ??= this.changedBatch()))
      else if (patchable && !subscriber.needsSnapshot && subscriber.offset === first - 1) {
        patches ??= new Batch(entries.map((entry) => entryLine(this.address.name, state.epoch, entry)))
        subscriber.deliver(patches)
      } else this.#deliverSnapshot(subscriber)
      subscriber.offset = state.head
    }
  }

  /** The connection of a subscriber that skipped versions has drained: it gets the newest value (R5). */
  catchUp(subscriber: Subscriber): void {
    const { head, snapshot } = this.state
    if (subscriber.offset >= head || snapshot === null) return
    if (subscriber.mode === 'changes') subscriber.deliver(this.changedBatch())
    else this.#deliverSnapshot(subscriber)
    subscriber.offset = head
  }

  protected override afterReset(): void {
    if (this.needed) this.#schedule.want()
    // A load that is under way without subscribers was read before the reset: it is not the value of the new epoch.
    else this.#missedChanges += 1
  }

  #deliverSnapshot(subscriber: Subscriber): void {
    subscriber.needsSnapshot = false
    subscriber.deliver(this.snapshotBatch())
  }

  async #load(): Promise<void> {
    const cause = this.#cause
    const missed = this.#missedChanges
    let loaded: Loaded
    try {
      loaded = await this.#loader.load(this.subscribers, (by) => this.#mayLoad(by), this.#takeNextLoader())
    } catch (error) {
      await this.#failed(error)
      throw error
    }
    if (this.#closed)
      throw new CrossfadeError('server_error', `The topic "${this.address.name}" was closed. Try again.`)
    this.#loadedBy = loaded.by
    if (loaded.by !== null) this.sharers.loadedBy(loaded.by)
    if (missed !== this.#missedChanges) this.#schedule.want()
    else await this.#storeOrTell(loaded.answer, cause)
    this.#setStaleness(null)
  }

  /** A value that the broker does not take leaves the topic as stale as a load that fails (R55). */
  async #storeOrTell(answer: Answer, cause: Cause): Promise<void> {
    try {
      await this.#store(answer, cause)
    } catch (error) {
      if (this.#staleness === null) this.#ports.report(error, `to store the value of "${this.address.name}"`)
      await this.#failed(error)
      throw error
    }
  }

  async #failed(error: unknown): Promise<void> {
    const { definition, key, name } = this.address
    const isGone = error instanceof RunError && error.verdict.kind === 'gone'
    if (isGone && definition.audience === 'public') {
      this.endAll('gone', `The endpoint of "${name}" says that it is gone.`)
      // The last value of something that is gone is not served to anybody.
      await this.#ports.broker.append(key, { kind: 'forget' })
      return
    }
    this.#setStaleness({ since: this.#staleness?.since ?? Date.now(), reason: staleReasonOf(error) })
  }

  /** Tells all subscribers when the topic becomes stale, or fresh. */
  #setStaleness(staleness: Staleness | null): void {
    const before = this.#staleness
    this.#staleness = staleness
    if (before?.reason === staleness?.reason) return
    // The value that is now fresh goes first.
    if (staleness === null) this.flush()
    for (const subscriber of this.subscribers) {
      if (staleness === null) subscriber.fresh(this.cursor)
      else subscriber.stale(staleness)
    }
  }

  async #store(answer: Answer, cause: Cause): Promise<void> {
    const { broker } = this.#ports
    const { key } = this.address
    const { snapshot } = this.state
    const isFirst = snapshot === null
    const isSame = !isFirst && this.equalityOf(answer) === this.#equalityOfStored(snapshot)
    this.#ownTag = answer.tag === null ? null : { of: isSame ? snapshot.hash : answer.hash, tag: answer.tag }
    const value = { data: answer.text, hash: answer.hash, at: cause.at }
    if (isFirst) {
      this.#initialAt = (await broker.append(key, { kind: 'initial', value }))?.offset ?? null
      this.cycle.topic(this)
      // A change just before the topic was opened may not be in the value yet.
      this.#reloadAfter.changed()
    } else if (!isSame) {
      const patch = difference(snapshot.data, answer)
      await broker.append(key, {
        kind: 'value',
        value,
        patch,
        ...(cause.from === undefined ? {} : { from: cause.from }),
      })
    }
  }

  #equalityOfStored({ hash, data }: Snapshot): string {
    if (this.address.definition.ignore.length === 0) return hash
    if (this.#equality?.of !== hash) {
      this.#equality = { of: hash, hash: this.equalityOf({ value: JSON.parse(data), hash }) }
    }
    return this.#equality.hash
  }

  /** The hash by which two answers are compared: without the fields that the route ignores. */
  equalityOf(answer: { value: unknown; hash: string }): string {
    const { ignore } = this.address.definition
    if (ignore.length === 0) return answer.hash
    let value = answer.value
    for (const path of ignore) {
      try {
        value = applyPatch(value, [{ op: 'remove', path }])
      } catch {
        // The field is not there: nothing to ignore.
      }
    }
    return hashValue(value)
  }

  /** The entity tags of the endpoint's answer with this value: its own, if it sets one, before the one built from the hash (R10, R12). */
  get tags(): readonly [string, ...string[]] {
    const hash = this.state.snapshot?.hash ?? ''
    const hashTag = `W/"${hash}"`
    return this.#ownTag?.of === hash ? [this.#ownTag.tag, hashTag] : [hashTag]
  }

  /** Whether an answer that the endpoint gave elsewhere matches this topic's value. */
  agrees(answer: { value: unknown; hash: string }): boolean {
    const { snapshot } = this.state
    if (snapshot === null) return true
    if (this.equalityOf(answer) !== this.#equalityOfStored(snapshot)) return false
    if (answer.hash !== snapshot.hash) this.#rememberVariant(snapshot.hash, answer.hash)
    return true
  }

  /** Whether a client with a value of this hash has the topic's value, apart from fields that the route ignores. */
  isCurrent(hash: string): boolean {
    const current = this.state.snapshot?.hash
    return hash === current || (this.#variants?.of === current && this.#variants?.hashes.has(hash) === true)
  }

  #rememberVariant(of: string, hash: string): void {
    if (this.#variants?.of !== of) this.#variants = { of, hashes: new Set() }
    const { hashes } = this.#variants
    hashes.add(hash)
    const [oldest] = hashes
    if (hashes.size > maxVariants && oldest !== undefined) hashes.delete(oldest)
  }
}

/** A feed that restarts repeats earlier positions: a value read now still includes the later changes. */
function later(before: Cause, now: Cause): Cause {
  const isEarlier =
    now.from !== undefined && now.from.source === before.from?.source && now.from.position < before.from.position
  return isEarlier ? before : now
}
