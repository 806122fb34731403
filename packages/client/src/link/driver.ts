import { paths, type ServerMessage } from '@crossfade/protocol'
import type { Environment, Timer } from '../environment.ts'
import type { Timing } from '../timing.ts'
import type { TopicSubscription } from '../topics/subscription.ts'
import { openLongPoll, openShortPoll } from '../transports/poll.ts'
import { openSse } from '../transports/sse.ts'
import type { OpenTransport, Transport, TransportEnd, TransportName, TransportPort } from '../transports/transport.ts'
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
  message(message: ServerMessage): void
  changed(state: LinkState): void
}

/** Runs the machine: opens and closes transports, waits, probes, climbs. */
export class LinkDriver {
  readonly #port: LinkPort
  readonly #stops: (() => void)[]
  #state: LinkState
  #transport: Transport | null = null
  #climber: Transport | null = null
  #timer: Timer | null = null
  #climbTimer: Timer | null = null
  #refresh = false
  #closed = false

  constructor(port: LinkPort) {
    this.#port = port
    this.#state = initialLink(port.ladder)
    this.#stops = [
      port.environment.onWake(() => this.send({ type: 'wake' })),
      port.environment.onSleep(() => this.send({ type: 'sleep' })),
    ]
  }

  get state(): LinkState {
    return this.#state
  }

  /** What is wanted has changed. */
  sync(): void {
    const isWanted = !this.#port.subscriptions()[Symbol.iterator]().next().done
    this.send({ type: isWanted ? 'wanted' : 'unwanted' })
    if (this.#state.phase === 'live') this.#transport?.sync()
  }

  send(event: LinkEvent): void {
    if (this.#closed) return
    const { environment, timing } = this.#port
    const before = this.#state
    const { state, effects } = stepLink(before, event, { now: environment.now(), random: environment.random, timing })
    this.#state = state
    if (before.phase === 'live' && state.phase !== 'live') this.#forget()
    for (const effect of effects) this.#run(effect)
    if (state !== before) this.#port.changed(state)
  }

  close(): void {
    this.send({ type: 'unwanted' })
    this.#closed = true
    for (const stop of this.#stops) stop()
    this.#clearTimer()
  }

  #run(effect: LinkEffect): void {
    switch (effect.type) {
      case 'open':
        this.#clearTimer()
        this.#transport?.close()
        this.#transport = this.#open(effect.transport)
        break
      case 'close':
        this.#clearTimer()
        this.#transport?.close()
        this.#transport = null
        break
      case 'check':
        void this.#check()
        break
      case 'wait':
        this.#clearTimer()
        this.#timer = this.#port.environment.setTimeout(() => this.send({ type: 'timer' }), effect.ms)
        break
      case 'climb':
        this.#stopClimbing()
        this.#climbTimer = this.#port.environment.setTimeout(() => this.#climb(0), effect.ms)
        break
      case 'stopClimbing':
        this.#stopClimbing()
        break
      case 'refreshToken':
        this.#refresh = true
        break
    }
  }

  #open(name: TransportName): Transport {
    // Ends that come before the constructor returned belong to it all the same.
    const holder: { transport: Transport | null } = { transport: null }
    const isCurrent = (): boolean => holder.transport === null || this.#transport === holder.transport
    holder.transport = opens[name](
      this.#portOf({
        proved: () => {
          if (isCurrent()) this.send({ type: 'proved' })
        },
        ended: (end) => {
          if (isCurrent()) this.send({ type: 'ended', ...end })
        },
      }),
    )
    return holder.transport
  }

  #portOf(calls: { proved(): void; ended(end: TransportEnd): void }): TransportPort {
    const { environment, timing, base } = this.#port
    return {
      environment,
      timing,
      base,
      token: () => {
        const refresh = this.#refresh
        this.#refresh = false
        return this.#port.token(refresh)
      },
      subscriptions: () => this.#port.subscriptions(),
      message: (message) => this.#port.message(message),
      ...calls,
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
    this.send({ type: 'checked', reachable })
  }

  /** Tries the better rungs, best first; the present transport carries on until one is proved and takes over (F25). */
  #climb(rung: number): void {
    this.#climbTimer = null
    const name = this.#state.ladder[rung]
    if (this.#state.phase !== 'live') return
    if (rung >= this.#state.rung || name === undefined) {
      this.send({ type: 'climbFailed' })
      return
    }
    let decided = false
    const climber = opens[name](
      this.#portOf({
        proved: () => {
          if (decided) return
          decided = true
          this.#takeOver(climber, rung)
        },
        ended: (end) => {
          if (this.#transport === climber) this.send({ type: 'ended', ...end })
          if (decided) return
          decided = true
          this.#climber = null
          this.#climb(rung + 1)
        },
      }),
    )
    this.#climber = climber
  }

  /** The new one is subscribed before the old one ends; what both bring is told apart by its cursor. */
  #takeOver(climber: Transport, rung: number): void {
    this.#climber = null
    const old = this.#transport
    this.#transport = climber
    this.send({ type: 'climbed', rung })
    climber.sync()
    old?.close()
  }

  /** No transport carries: nothing is live. */
  #forget(): void {
    for (const subscription of this.#port.subscriptions()) subscription.isLive = false
  }

  #stopClimbing(): void {
    if (this.#climbTimer !== null) this.#port.environment.clearTimeout(this.#climbTimer)
    this.#climbTimer = null
    this.#climber?.close()
    this.#climber = null
  }

  #clearTimer(): void {
    if (this.#timer !== null) this.#port.environment.clearTimeout(this.#timer)
    this.#timer = null
  }
}
