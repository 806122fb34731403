import type { FastifyBaseLogger } from 'fastify'
import type { TopicDefinition } from './definition.ts'
import type { TopicAddress } from './topic-address.ts'
import type { Verdict } from './verdict.ts'

/** A failure that goes on is said again after this, with how often it was seen. */
const repeatMs = 60_000

interface Failures {
  count: number
  saidAt: number
}

/** Tells who runs the server when an endpoint cannot be loaded: once for each route and status, then counted. */
export class RunLog {
  readonly #log: FastifyBaseLogger
  readonly #failures = new Map<TopicDefinition, Map<string, Failures>>()

  constructor(log: FastifyBaseLogger) {
    this.#log = log
  }

  /** A load of this topic came to this. */
  loaded({ definition, name }: TopicAddress, verdict: Verdict): void {
    if (verdict.kind === 'value' || verdict.kind === 'unchanged') return this.#recovered(definition)
    // What is gone, or not this client's, is an answer and no trouble; a public topic is refused to the service itself.
    if (verdict.kind === 'gone' || (verdict.kind === 'refused' && definition.audience !== 'public')) return
    const failures = this.#of(definition, `${verdict.kind} ${verdict.status}`)
    failures.count += 1
    const now = performance.now()
    if (now - failures.saidAt < repeatMs) return
    failures.saidAt = now
    const times = failures.count > 1 ? ` It is the ${failures.count}th time.` : ''
    this.#log.warn(
      `crossfade: the topic "${name}" cannot be loaded: ${verdict.detail}${times} Pages keep the last good value, are told that it is stale, and read the endpoint themselves. ${adviceOn(verdict)}`,
    )
  }

  #recovered(definition: TopicDefinition): void {
    const kinds = this.#failures.get(definition)
    if (kinds === undefined) return
    this.#failures.delete(definition)
    const count = [...kinds.values()].reduce((sum, failures) => sum + failures.count, 0)
    this.#log.info(`crossfade: "${definition.pattern.text}" can be loaded again, after ${count} failures.`)
  }

  #of(definition: TopicDefinition, kind: string): Failures {
    const kinds = this.#failures.get(definition) ?? new Map<string, Failures>()
    this.#failures.set(definition, kinds)
    const failures = kinds.get(kind) ?? { count: 0, saidAt: -Infinity }
    kinds.set(kind, failures)
    return failures
  }
}

function adviceOn(verdict: Exclude<Verdict, { kind: 'value' | 'unchanged' }>): string {
  if (verdict.status === 429)
    return 'Let runs of the server pass the rate limit: request.crossfade is "load" or "check" in them.'
  if (verdict.kind === 'refused')
    return 'A public topic is loaded without credentials, or with those of the option service: { headers }.'
  return 'It is tried again with growing pauses.'
}
