import type { FastifyBaseLogger } from 'fastify'
import type { TopicDefinition } from './definition.ts'
import type { TopicAddress } from './topic-address.ts'
import type { Verdict } from './verdict.ts'

/** A failure that persists, or recurs, is logged again after this time, ms, with how often it was seen. */
const repeatMs = 60_000
/** How many failing topics of a route are remembered. */
const maxFailing = 1_000

interface Failures {
  count: number
  saidAt: number
}

/** What is known about the loads of one route. */
interface RouteLog {
  readonly failures: Map<string, Failures>
  /** The failing topics, by key. */
  readonly failing: Set<string>
  /** It was logged that the route cannot be loaded, and not yet that it can be again. */
  isSaid: boolean
  count: number
}

/** Tells the operator when an endpoint cannot be loaded: once for each route and status, then counted. */
export class RunLog {
  readonly #log: FastifyBaseLogger
  readonly #routes = new Map<TopicDefinition, RouteLog>()
  readonly #notCompared = new Set<TopicDefinition>()

  constructor(log: FastifyBaseLogger) {
    this.#log = log
  }

  /** Takes the outcome of a load of this topic. */
  loaded({ definition, name, key }: TopicAddress, verdict: Verdict): void {
    if (verdict.kind === 'value' || verdict.kind === 'unchanged') return this.#recovered(definition, key)
    // Gone or refused is an answer, not a failure; but for a public topic it is the service itself that is refused.
    if (verdict.kind === 'gone' || (verdict.kind === 'refused' && definition.audience !== 'public')) return
    const route = this.#of(definition)
    if (route.failing.size < maxFailing) route.failing.add(key)
    route.count += 1
    const kind = `${verdict.kind} ${verdict.status}`
    const failures = route.failures.get(kind) ?? { count: 0, saidAt: -Infinity }
    route.failures.set(kind, failures)
    failures.count += 1
    const now = performance.now()
    if (now - failures.saidAt < repeatMs) return
    failures.saidAt = now
    route.isSaid = true
    const times = failures.count > 1 ? ` Seen ${failures.count} times.` : ''
    this.#log.warn(
      `crossfade: the topic "${name}" cannot be loaded: ${verdict.detail}${times} Pages keep the last good value, are told that it is stale, and read the endpoint themselves. ${adviceOn(verdict)}`,
    )
  }

  /** Logged once for each route: a shared value changes faster than a client's own answer can be compared with it. */
  notCompared(definition: TopicDefinition, name: string): void {
    if (this.#notCompared.has(definition)) return
    this.#notCompared.add(definition)
    this.#log.warn(
      `crossfade: the topic "${name}" differs each time that a client's own answer is compared with what it would share, so the client is not let in to push, and polls. If a field of ${definition.url} differs each time, such as a time, list it under ignore; else look at its audience, its group and its vary.`,
    )
  }

  /** Logged when no topic of the route fails any more; not each time that one of its topics recovers. */
  #recovered(definition: TopicDefinition, key: string): void {
    const route = this.#routes.get(definition)
    if (route === undefined) return
    route.failing.delete(key)
    if (!route.isSaid || route.failing.size > 0) return
    route.isSaid = false
    this.#log.info(`crossfade: "${definition.pattern.text}" can be loaded again, after ${route.count} failures.`)
    route.count = 0
  }

  #of(definition: TopicDefinition): RouteLog {
    const known = this.#routes.get(definition)
    if (known !== undefined) return known
    const route: RouteLog = { failures: new Map(), failing: new Set(), isSaid: false, count: 0 }
    this.#routes.set(definition, route)
    return route
  }
}

function adviceOn(verdict: Exclude<Verdict, { kind: 'value' | 'unchanged' }>): string {
  if (verdict.status === 429)
    return 'Exempt runs of the server from the rate limit: request.crossfade is "load" or "check" in them.'
  if (verdict.kind === 'refused')
    return 'A public topic is loaded without credentials, or with those of the option service: { headers }.'
  return 'It is tried again with growing pauses.'
}
