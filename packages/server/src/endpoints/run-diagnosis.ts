import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { TopicDefinition } from './definition.ts'
import type { EndpointRunner, RunAs } from './endpoint-runner.ts'
import type { TopicAddress } from './topic-address.ts'

/** Who is refused when it is the load of a public topic. */
export const serviceName = 'service'

/** How long a route that cannot be run is not offered for push, ms. Then it is tried once more. */
const withheldMs = 60_000
/** How many refused runs are remembered, each for as long. */
const maxRefusals = 1_000

/** Headers that each client sends, or that a run has anyway: none of them is what a run lacks. */
const ordinary =
  /^(?:accept(?:-.*)?|authorization|cache-control|connection|content-.*|cookie|date|dnt|host|if-.*|keep-alive|origin|pragma|prefer|priority|range|referer|sec-.*|te|traceparent|tracestate|transfer-encoding|upgrade.*|user-agent|via|forwarded|x-forwarded-.*|x-real-ip|x-request-id|x-requested-with)$/i

/**
 * Notices routes that answer a client and refuse the server's own run in its place, because the route needs something that a run does
 * not carry: an API key, a header of a proxy. It says once for each route what that may be, and push is not promised meanwhile.
 */
export class RunDiagnosis {
  readonly #runner: EndpointRunner
  readonly #log: FastifyBaseLogger
  /** When a run was refused, by whose it was and for what. */
  readonly #refusals = new Map<string, number>()
  /** Until when a route is not offered for push. */
  readonly #withheld = new Map<TopicDefinition, number>()
  readonly #said = new Set<TopicDefinition>()
  readonly #looking = new Set<TopicDefinition>()

  constructor(runner: EndpointRunner, log: FastifyBaseLogger) {
    this.#runner = runner
    this.#log = log
  }

  /** Whether push would fail although the route answers its clients. */
  isWithheld(definition: TopicDefinition): boolean {
    return (this.#withheld.get(definition) ?? 0) > performance.now()
  }

  /** A run was refused. @param who names the credentials. */
  refused(address: TopicAddress, who: string): void {
    const key = `${who}\n${address.key}`
    this.#refusals.delete(key)
    this.#refusals.set(key, performance.now())
    const oldest = this.#refusals.keys().next().value
    if (this.#refusals.size > maxRefusals && oldest !== undefined) this.#refusals.delete(oldest)
  }

  /** The route was run with success. */
  answered(definition: TopicDefinition): void {
    this.#withheld.delete(definition)
  }

  /** The route answered a client's own request with 2xx: does it refuse the run in its place? */
  async compare(address: TopicAddress, who: string, as: RunAs, request: FastifyRequest): Promise<void> {
    const { definition } = address
    const refusedAt = this.#refusals.get(`${who}\n${address.key}`)
    if (refusedAt === undefined || performance.now() - refusedAt > withheldMs || this.#looking.has(definition)) return
    this.#looking.add(definition)
    const verdict = await this.#runner.run(address, as, { kind: 'check' })
    this.#looking.delete(definition)
    this.#refusals.delete(`${who}\n${address.key}`)
    if (verdict.kind !== 'refused' && verdict.kind !== 'gone') return
    this.#withheld.set(definition, performance.now() + withheldMs)
    if (this.#said.has(definition)) return
    this.#said.add(definition)
    const names = Object.keys(request.headers).filter((name) => !ordinary.test(name) && !(name in as.headers))
    const seen = names.length === 0 ? '' : ` The client's request had ${names.join(', ')}, which the run had not.`
    this.#log.warn(
      `crossfade: the route ${definition.url} answers its client, but answered ${verdict.status} when the server ran it in the client's place, so it is not offered for push.${seen} List headers on which the answer depends under vary, or let the service send them: service: { headers }.`,
    )
  }
}
