import { CrossfadeError, hashValue, applyPatch } from '@crossfade/protocol'
import type { Broker, Snapshot, SourcePosition } from '../brokers/broker.ts'
import type { FlushCycle } from '../delivery/flush-cycle.ts'
import { identityOf, type Identity } from '../identity/principal.ts'
import { Batch } from '../delivery/batch.ts'
import { difference } from './difference.ts'
import type { TopicAddress } from '../endpoints/topic-address.ts'
import { EndpointFailure, type Answer } from '../endpoints/endpoint-runner.ts'
import { CredentialSource } from './credential-source.ts'
import { entryLine, snapshotLine } from '../delivery/lines.ts'
import { LiveTopic } from './live-topic.ts'
import { LoadSchedule } from './load-schedule.ts'
import type { Subscriber } from '../delivery/subscriber.ts'

/** What a value topic needs from outside. */
export interface ValueTopicPorts {
  readonly broker: Broker
  readonly cycle: FlushCycle
  /** Runs the topic's endpoint as `identity`. */
  run(address: TopicAddress, identity: Identity): Promise<Answer>
  /** Under whose credentials a public topic is loaded. */
  readonly service: Identity
  /** A moment in the order of revocations, taken before a run. */
  moment(): number
  /** An endpoint that began to run at `since` answered `identity` with 2xx: it may see the topic. */
  granted(address: TopicAddress, identity: Identity, since: number): void
  /** An endpoint refused `identity` with 401 or 403. */
  refused(address: TopicAddress, identity: Identity): void
  /** A public answer looks private (R15). */
  suspicious(address: TopicAddress, reason: string): void
}

/** Why a load is wanted: the change's commit time, and its position in the source. */
export interface Cause {
  readonly at: number
  readonly from?: SourcePosition
}

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
  /** The entity tag that the endpoint itself gave the value with the hash `of`. */
  #ownTag: { readonly of: string; readonly tag: string } | null = null
  /** Where the value was stored without a new entry: answers given at this offset may be older than it. */
  #initialAt: number | null = null
  #closed = false
  readonly #credentials = new CredentialSource()
  /** Counts changes that came while nobody needed the value: a load that began before one must not be stored after it. */
  #marks = 0

  constructor(address: TopicAddress, ports: ValueTopicPorts) {
    super(address, ports.cycle)
    this.#ports = ports
    this.#schedule = new LoadSchedule({
      minIntervalMs: address.definition.minLoadMs,
      refreshMs: address.definition.refreshMs,
      load: () => this.#load(),
      needed: () => this.needed,
    })
  }

  /** The value did not follow the latest change: its load failed, and the last good value stays (D12). */
  get stale(): boolean {
    return this.#schedule.failing
  }

  get settled(): boolean {
    return this.#schedule.settled
  }

  /** A change of the database, or doubt about the value, touches the topic. */
  invalidate(cause: Cause = { at: Date.now() }): void {
    this.#cause = later(this.#cause, cause)
    if (this.needed) {
      this.#schedule.want()
      return
    }
    // Nobody needs the value now, but a cursor given by an earlier answer must not seem current.
    this.#marks += 1
    void this.#ports.broker.append(this.address.key, { kind: 'mark' })
  }

  /**
   * Waits until the topic has a value.
   *
   * @param lender whose credentials may load it, when it is not public.
   * @throws CrossfadeError of the endpoint's refusal, or `server_error`.
   */
  async ready(lender: Identity): Promise<void> {
    this.#credentials.lend(lender)
    if (this.state.snapshot !== null && !this.#schedule.overdue) return
    await this.#loaded(lender)
    if (this.state.snapshot === null)
      throw new CrossfadeError('server_error', `The value of "${this.address.name}" could not be loaded. Try again.`)
  }

  /** Waits for a load that begins after this call; a failure leaves the last good value. */
  async reload(lender: Identity): Promise<void> {
    await this.#loaded(lender).catch(() => {})
  }

  /** Waits for a load. What the endpoint refused to somebody else it may give to this lender: then another is waited for (R54). */
  async #loaded(lender: Identity): Promise<void> {
    await this.#credentials.during(lender, async () => {
      for (;;) {
        try {
          return await this.#schedule.next()
        } catch (error) {
          const another = this.address.definition.audience !== 'public' && this.#credentials.isPromising(lender)
          if (!another || !(error instanceof EndpointFailure && error.isRefusal)) throw error
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
   * A client at the newest offset cannot say what it holds: after a plain answer that may be older than the first value which was
   * stored at that offset. A new entry of the same value lets it be told (R6).
   */
  async restate(offset: number): Promise<void> {
    const { snapshot, head } = this.state
    if (snapshot === null || head !== offset || this.#initialAt !== offset) return
    await this.#ports.broker.append(this.address.key, { kind: 'value', value: snapshot, patch: '[]' })
  }

  override close(): void {
    this.#closed = true
    this.#schedule.stop()
    super.close()
  }

  /** The newest value for subscribers that skip versions or have none; its bytes are shared. */
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

  /** The connection of a subscriber that skipped versions has drained: it gets the newest (R5). */
  catchUp(subscriber: Subscriber): void {
    const { head, snapshot } = this.state
    if (subscriber.offset >= head || snapshot === null) return
    if (subscriber.mode === 'changes') subscriber.deliver(this.changedBatch())
    else this.#deliverSnapshot(subscriber)
    subscriber.offset = head
  }

  protected override afterReset(): void {
    if (this.needed) this.#schedule.want()
    // What is being loaded for nobody was read before: it is not the value of the new epoch.
    else this.#marks += 1
  }

  #deliverSnapshot(subscriber: Subscriber): void {
    subscriber.needsSnapshot = false
    subscriber.deliver(this.snapshotBatch())
  }

  async #load(): Promise<void> {
    const cause = this.#cause
    const marks = this.#marks
    const identity = this.#identity()
    const since = this.#ports.moment()
    let answer: Answer
    try {
      answer = await this.#ports.run(this.address, identity)
      this.#refuseForeign(answer)
    } catch (error) {
      if (error instanceof EndpointFailure) await this.#failed(error, identity)
      throw error
    }
    if (this.#closed)
      throw new CrossfadeError('server_error', `The topic "${this.address.name}" was closed. Try again.`)
    this.#ports.granted(this.address, identity, since)
    if (marks === this.#marks) await this.#store(answer, cause)
    else this.#schedule.want()
  }

  #identity(): Identity {
    if (this.address.definition.audience === 'public') return this.#service()
    const lender = this.#credentials.pick(this.subscribers)
    if (lender !== null) return lender
    throw new CrossfadeError('server_error', `Nobody lends credentials to load "${this.address.name}".`)
  }

  /** The service asks for what the topic's clients ask for: a language, say, is part of the topic. */
  #service(): Identity {
    const { service } = this.#ports
    const headers = { ...service.headers, ...this.address.headers }
    return Object.keys(this.address.headers).length === 0
      ? service
      : identityOf(service.principal, headers, Object.keys(headers))
  }

  async #failed(failure: EndpointFailure, identity: Identity): Promise<void> {
    const { definition, key, name } = this.address
    if (failure.isRefusal) this.#credentials.refuse(identity)
    const isGone = failure.status === 404 || failure.status === 410
    // To one of a group "gone" may only mean "not for you": the others are asked before they lose it (R52, R54).
    if (failure.status === 401 || failure.status === 403 || (isGone && typeof definition.audience === 'object')) {
      this.#ports.refused(this.address, identity)
    } else if (isGone) {
      this.endAll('gone', `The endpoint of "${name}" answers ${failure.status}: it is gone.`)
      // Nobody gets the last value of what is no more.
      await this.#ports.broker.append(key, { kind: 'mark' })
    }
  }

  /** An answer is stored only under the topic that the route itself assigns it to, and never shared when it looks private. */
  #refuseForeign(answer: Answer): void {
    if (answer.topicKey !== this.address.key) {
      throw new EndpointFailure(403, `The endpoint's answer does not belong to the topic "${this.address.name}".`)
    }
    if (this.address.definition.audience !== 'public' || answer.privateReason === null) return
    this.#ports.suspicious(this.address, answer.privateReason)
    throw new EndpointFailure(
      403,
      `The answer of "${this.address.name}" is not shared because ${answer.privateReason}.`,
    )
  }

  async #store(answer: Answer, cause: Cause): Promise<void> {
    const { broker } = this.#ports
    const { key } = this.address
    const { snapshot } = this.state
    const isSame = snapshot !== null && this.equalityOf(answer) === this.#equalityOfStored(snapshot)
    this.#ownTag = answer.tag === null ? null : { of: isSame ? snapshot.hash : answer.hash, tag: answer.tag }
    const value = { data: answer.text, hash: answer.hash, at: cause.at }
    if (snapshot === null) {
      this.#initialAt = await broker.append(key, { kind: 'initial', value })
      this.cycle.topic(this)
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

  /** The hash by which two answers are told apart: without the fields that the route ignores. */
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

  /** The entity tags of the endpoint's answer with this value: its own where it sets one, before that of the hash (R10, R12). */
  get tags(): readonly [string, ...string[]] {
    const hash = this.state.snapshot?.hash ?? ''
    const made = `W/"${hash}"`
    return this.#ownTag?.of === hash ? [this.#ownTag.tag, made] : [made]
  }

  /** Whether an answer that the endpoint gave elsewhere is what this topic holds, too. */
  agrees(answer: { value: unknown; hash: string }): boolean {
    const { snapshot } = this.state
    return snapshot === null || this.equalityOf(answer) === this.#equalityOfStored(snapshot)
  }
}

/** A feed that starts again repeats earlier positions: what is read now includes the later ones all the same. */
function later(before: Cause, now: Cause): Cause {
  const isEarlier =
    now.from !== undefined && now.from.source === before.from?.source && now.from.position < before.from.position
  return isEarlier ? before : now
}
