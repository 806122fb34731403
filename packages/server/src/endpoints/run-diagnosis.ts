import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { TopicDefinition } from './definition.ts'
import type { EndpointRunner, RunAs } from './endpoint-runner.ts'
import type { TopicAddress } from './topic-address.ts'
import type { Refusal } from './verdict.ts'

/** Stands for the credentials of a public topic's load. */
export const serviceName = 'service'

/** How long a route that cannot be run is not offered for push, ms. After that it is tried once more. */
const withheldMs = 60_000
/** How many refusals are remembered. */
const maxRemembered = 1_000

/** Headers that every client sends, or that a run has anyway: a run never fails for lack of one of them. */
const ordinary =
  /^(?:accept(?:-.*)?|authorization|cache-control|connection|content-.*|cookie|date|dnt|host|if-.*|keep-alive|origin|pragma|prefer|priority|range|referer|sec-.*|te|traceparent|tracestate|transfer-encoding|upgrade.*|user-agent|via|forwarded|x-forwarded-.*|x-real-ip|x-request-id|x-requested-with)$/i

/**
 * Notices routes that answer a client and refuse the server's own run in its place, because the route needs something that a run does
 * not carry: an API key, a header of a proxy. It logs once for each route what that may be, and push is not promised meanwhile.
 */
export class RunDiagnosis {
  readonly #runner: EndpointRunner
  readonly #log: FastifyBaseLogger
  /** When a run was refused, by credentials and address. */
  readonly #refusals = new Map<string, number>()
  /** When to try again those that are not offered push: whole routes, or a topic whose run is refused for some credentials. */
  readonly #withheld = new Map<string, number>()
  /** Routes that have been run successfully: if they refuse a run, that concerns only some clients. */
  readonly #working = new Set<TopicDefinition>()
  readonly #said = new Set<TopicDefinition>()
  readonly #comparing = new Set<TopicDefinition>()

  constructor(runner: EndpointRunner, log: FastifyBaseLogger) {
    this.#runner = runner
    this.#log = log
  }

  /** Whether push would fail although the route answers these clients. */
  isWithheld({ definition, key }: TopicAddress, credentials: string): boolean {
    return this.#withheld.has(definition.pattern.text) || this.#withheld.has(ownKey(key, credentials))
  }

  /** A run was refused. @param credentials their key, or {@link serviceName}. */
  refused(address: TopicAddress, credentials: string): void {
    remember(this.#refusals, ownKey(address.key, credentials), performance.now())
  }

  /** The route was run successfully. */
  answered(definition: TopicDefinition): void {
    this.#working.add(definition)
    this.#withheld.delete(definition.pattern.text)
  }

  /** The route answered a client's own request with 2xx: does it refuse the server's run for that client? */
  async compare(address: TopicAddress, credentials: string, as: RunAs, request: FastifyRequest): Promise<void> {
    const { definition, key } = address
    if (this.#comparing.has(definition) || !this.#isDoubtful(address, credentials)) return
    this.#comparing.add(definition)
    const verdict = await this.#runner.run(address, as, { kind: 'check' })
    this.#comparing.delete(definition)
    this.#refusals.delete(ownKey(key, credentials))
    if (verdict.kind === 'refused' || verdict.kind === 'gone')
      this.#withhold(address, credentials, verdict, as, request)
    else if (verdict.kind !== 'unknown') {
      this.#withheld.delete(ownKey(key, credentials))
      this.answered(definition)
    }
  }

  /** A run was refused recently, or push that is not offered is due to be tried again. */
  #isDoubtful({ definition, key }: TopicAddress, credentials: string): boolean {
    const now = performance.now()
    const { text } = definition.pattern
    const dueAt = this.#withheld.get(text) ?? this.#withheld.get(ownKey(key, credentials))
    if (dueAt !== undefined) return now >= dueAt
    const refusedAt = this.#refusals.get(ownKey(key, credentials))
    return refusedAt !== undefined && now - refusedAt < withheldMs
  }

  #withhold(address: TopicAddress, credentials: string, { status }: Refusal, as: RunAs, request: FastifyRequest): void {
    const { definition } = address
    // If the route works for others, a refusal of one topic says nothing about its other topics.
    const what = this.#working.has(definition) ? ownKey(address.key, credentials) : definition.pattern.text
    remember(this.#withheld, what, performance.now() + withheldMs)
    if (this.#said.has(definition)) return
    this.#said.add(definition)
    const names = Object.keys(request.headers).filter((name) => !ordinary.test(name) && !(name in as.headers))
    const seen = names.length === 0 ? '' : ` The client's request had ${names.join(', ')}, which the run did not have.`
    this.#log.warn(
      `crossfade: the route ${definition.url} answers its client, but answered ${status} when the server ran it in the client's place, so it is not offered for push.${seen} List headers on which the answer depends under vary, or let the service send them: service: { headers }.`,
    )
  }
}

function ownKey(key: string, credentials: string): string {
  return `${credentials}\n${key}`
}

/** Keeps only the newest entries. */
function remember(times: Map<string, number>, key: string, at: number): void {
  times.delete(key)
  times.set(key, at)
  const oldest = times.keys().next().value
  if (times.size > maxRemembered && oldest !== undefined) times.delete(oldest)
}
