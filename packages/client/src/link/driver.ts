import { paths, type Response, type ServerMessage } from '@crossfade/protocol'
import type { Environment, Timer } from '../environment.ts'
import type { Timing } from '../timing.ts'
import type { TopicSubscription } from '../topics/subscription.ts'
import type { Asked } from '../transports/asked-topics.ts'
import { HoldMemory } from '../transports/hold-memory.ts'
import { openLongPoll, openShortPoll } from '../transports/poll.ts'
import { openSse } from '../transports/sse.ts'
import type { Call, OpenTransport, Transport, TransportEnd, TransportName } from '../transports/transport.ts'
import { openWebSocket } from '../transports/websocket.ts'
import { initialLink, stepLink, type LinkEffect, type LinkEvent, type LinkState } from './machine.ts'

const opens: { readonly [name in TransportName]: OpenTransport } = {
  websocket: openWebSocket,
  sse: openSse,
  longpoll: openLongPoll,
  shortpoll: openShortPoll,
}

/** What the link works with and calls. */
export interface LinkPort {
  readonly environment: Environment
  readonly timing: Timing
  readonly base: string
  readonly ladder: readonly TransportName[]
  token(refresh: boolean): Promise<string | undefined>
  subscriptions(): Iterable<TopicSubscription>
  /** @param asked what the message answers. */
  message(message: ServerMessage, asked: Asked | undefined): void
  /** Up to which version rollouts were heard of (R61). */
  heard(): number
  /** The topic is asked for again after a while. */
  askLater(topic: string): void
  changed(state: LinkState): void
}

/** One try of a transport. It is known before the transport is, which may end while it is being made. */
interface Attempt {
  readonly rung: number
  transport: Transport | null
  token: string | undefined
  tokenFailed: boolean
  /** Not before this time it asks for another token. */
  renewAt: number
  /** Topics that it was refused as a climber, or may have been: they were carried twice. */
  readonly carriedTwice: Set<string>
}

/** Runs the machine: opens and closes transports, waits, probes, climbs. */
export class LinkDriver {
  readonly #port: LinkPort
  readonly #stops: (() => void)[]
  readonly #hold: HoldMemory
  /** What happened and is not dealt with yet: what an effect causes waits for the effect's end. */
  readonly #queue: (() => void)[] = []
  #isBusy = false
  #state: LinkState
  #current: Attempt | null = null
  #climber: Attempt | null = null
  #timer: Timer | null = null
  #climbTimer: Timer | null = null
  #refresh = false
  #closed = false

  constructor(port: LinkPort) {
    this.#port = port
    this.#state = initialLink(port.ladder)
    this.#hold = new HoldMemory(port.timing.holdMs)
    this.#stops = [
      port.environment.onWake(() => this.#send({ type: 'wake' })),
      port.environment.onSleep(() => this.#send({ type: 'sleep' })),
    ]
  }

  get state(): LinkState {
    return this.#state
  }

  /** What is wanted has changed. */
  sync(): void {
    const isWanted = [...this.#port.subscriptions()].length > 0
    this.#send({ type: isWanted ? 'wanted' : 'unwanted' })
    this.#enqueue(() => {
      if (this.#state.phase === 'live') this.#current?.transport?.sync()
    })
  }

  /** Over the connection that lives, if it carries calls. @returns `null` when they go another way. */
  call(call: Call): Promise<Response | null> | null {
    return this.#state.phase === 'live' ? (this.#current?.transport?.call?.(call) ?? null) : null
  }

  close(): void {
    this.#send({ type: 'unwanted' })
    this.#enqueue(() => {
      this.#closed = true
      for (const stop of this.#stops) stop()
      this.#clearTimer()
    })
  }

  #send(event: LinkEvent): void {
    this.#enqueue(() => this.#step(event))
  }

  #enqueue(task: () => void): void {
    if (this.#closed) return
    this.#queue.push(task)
    if (this.#isBusy) return
    this.#isBusy = true
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) next()
    } finally {
      this.#isBusy = false
    }
  }

  #step(event: LinkEvent): void {
    const { environment, timing } = this.#port
    const before = this.#state
    const { state, effects } = stepLink(before, event, { now: environment.now(), random: environment.random, timing })
    this.#state = state
    if (before.phase === 'live' && state.phase !== 'live') this.#forget()
    for (const effect of effects) this.#run(effect)
    // What was wanted while it proved itself is not subscribed yet.
    if (before.phase !== 'live' && state.phase === 'live') this.#current?.transport?.sync()
    if (state !== before) this.#port.changed(state)
  }

  #run(effect: LinkEffect): void {
    switch (effect.type) {
      case 'open':
        this.#clearTimer()
        this.#current?.transport?.close()
        this.#launch(this.#state.rung, (attempt) => (this.#current = attempt))
        break
      case 'close':
        this.#clearTimer()
        this.#current?.transport?.close()
        this.#current = null
        break
      case 'check':
        void this.#check()
        break
      case 'wait':
        this.#clearTimer()
        this.#timer = this.#port.environment.setTimeout(() => this.#send({ type: 'timer' }), effect.ms)
        break
      case 'climb':
        this.#stopClimbing()
        this.#climbTimer = this.#port.environment.setTimeout(() => this.#enqueue(() => this.#climb(0)), effect.ms)
        break
      case 'stopClimbing':
        this.#stopClimbing()
        break
      case 'refreshToken':
        this.#refresh = true
        break
      case 'test':
        this.#current?.transport?.test?.()
        break
    }
  }

  #launch(rung: number, place: (attempt: Attempt) => void): void {
    const attempt: Attempt = {
      rung,
      transport: null,
      token: undefined,
      tokenFailed: false,
      renewAt: 0,
      carriedTwice: new Set(),
    }
    place(attempt)
    const name = this.#state.ladder[rung] as TransportName
    attempt.transport = opens[name]({
      ...this.#port,
      hold: this.#hold,
      token: () => this.#token(attempt, false),
      message: (message, asked) => this.#message(attempt, message, asked),
      proved: () => this.#enqueue(() => this.#proved(attempt)),
      ended: (end) => this.#enqueue(() => this.#ended(attempt, end)),
    })
  }

  async #token(attempt: Attempt, refresh: boolean): Promise<string | undefined> {
    const isRefresh = refresh || this.#refresh
    this.#refresh = false
    try {
      return (attempt.token = await this.#port.token(isRefresh))
    } catch (error) {
      attempt.tokenFailed = true
      throw error
    }
  }

  /** The server asks ahead (R53). Of the same token it would only ask again. */
  async #renew(attempt: Attempt): Promise<void> {
    const { environment, timing } = this.#port
    if (environment.now() < attempt.renewAt) return
    attempt.renewAt = environment.now() + timing.renewMs
    const { token } = attempt
    try {
      const renewed = await this.#token(attempt, true)
      // Cookies say not whether they are new.
      if (renewed === undefined || renewed !== token) attempt.transport?.renew?.(renewed)
    } catch {
      // Without a new one the server will end the connection, and say why.
    }
  }

  /** What a climber is refused the transport beside it carries, and may be why (PROTOCOL §8): it is asked for again after the climb. */
  #message(attempt: Attempt, message: ServerMessage, asked: Asked | undefined): void {
    if (message.type !== 'error') return this.#port.message(message, asked)
    const { code, topic = '' } = message
    if (code === 'token_expiring') void this.#renew(attempt)
    else if (attempt === this.#climber) attempt.carriedTwice.add(topic)
    else if (attempt.carriedTwice.delete(topic)) this.#port.askLater(topic)
    else this.#port.message(message, asked)
  }

  #proved(attempt: Attempt): void {
    if (attempt === this.#current) this.#step({ type: 'proved' })
    else if (attempt === this.#climber) this.#arrive(attempt)
  }

  #ended(attempt: Attempt, end: TransportEnd): void {
    // Without a token nothing can be said of the transport.
    const event: TransportEnd = attempt.tokenFailed ? { reason: 'auth' } : end
    if (attempt === this.#current) this.#step({ type: 'ended', ...event })
    else if (attempt === this.#climber) {
      this.#climber = null
      this.#climb(attempt.rung + 1)
    }
  }

  async #check(): Promise<void> {
    const { environment, timing, base } = this.#port
    const abort = new AbortController()
    const timer = environment.setTimeout(() => abort.abort(), timing.probeMs)
    let reachable = false
    try {
      const response = await environment.fetch(`${base}${paths.probe}`, { cache: 'no-store', signal: abort.signal })
      reachable = response.status === 204
    } catch {
      // Nothing answers: the server, or the network.
    }
    environment.clearTimeout(timer)
    this.#send({ type: 'checked', reachable })
  }

  /** Tries the better rungs, best first; the present transport carries on until one is proved and takes over. */
  #climb(rung: number): void {
    this.#clearClimbTimer()
    if (this.#state.phase !== 'live') return
    if (rung >= this.#state.rung) this.#step({ type: 'climbFailed' })
    else this.#launch(rung, (attempt) => (this.#climber = attempt))
  }

  /** What gave way to short lives must live for a while before it is trusted again. */
  #arrive(climber: Attempt): void {
    if (this.#state.reason !== 'unstable') return this.#takeOver(climber)
    this.#climbTimer = this.#port.environment.setTimeout(() => {
      this.#enqueue(() => {
        if (climber === this.#climber) this.#takeOver(climber)
      })
    }, this.#port.timing.shortLifeMs)
  }

  /** The new one is subscribed before the old one ends; what both bring is told apart by its cursor. */
  #takeOver(climber: Attempt): void {
    const old = this.#current
    this.#climber = null
    this.#current = climber
    this.#step({ type: 'climbed', rung: climber.rung })
    for (const topic of climber.carriedTwice) this.#port.askLater(topic)
    for (const { topic } of this.#port.subscriptions()) climber.carriedTwice.add(topic)
    climber.transport?.sync()
    old?.transport?.close()
  }

  /** No transport carries: nothing is live. */
  #forget(): void {
    for (const subscription of this.#port.subscriptions()) subscription.isLive = false
  }

  #stopClimbing(): void {
    this.#clearClimbTimer()
    this.#climber?.transport?.close()
    this.#climber = null
  }

  #clearClimbTimer(): void {
    this.#port.environment.clearTimeout(this.#climbTimer)
  }

  #clearTimer(): void {
    this.#port.environment.clearTimeout(this.#timer)
  }
}
