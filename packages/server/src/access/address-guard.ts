import type { TopicDefinition } from '../endpoints/definition.ts'
import type { EndpointRunner } from '../endpoints/endpoint-runner.ts'
import type { TopicAddress } from '../endpoints/topic-address.ts'

const openMs = 600_000
const guardedMs = 60_000
const unknownMs = 10_000

interface Finding {
  readonly isOpen: boolean
  readonly until: number
}

/**
 * Finds out whether a public route answers clients without credentials whatever their network address. A route may admit some addresses
 * only; what it answers to one of them then says nothing about the others (R14).
 *
 * One run from an address that no client has tells, once for each route.
 */
export class AddressGuard {
  readonly #runner: EndpointRunner
  readonly #findings = new Map<TopicDefinition, Finding>()
  readonly #underWay = new Map<TopicDefinition, Promise<boolean>>()

  constructor(runner: EndpointRunner) {
    this.#runner = runner
  }

  /** Resolves to whether the route of this topic answers all addresses alike, as far as a run can tell. */
  isOpen(address: TopicAddress): Promise<boolean> {
    const { definition } = address
    const found = this.#findings.get(definition)
    if (found !== undefined && found.until > performance.now()) return Promise.resolve(found.isOpen)
    const underWay = this.#underWay.get(definition)
    if (underWay) return underWay
    const look = this.#look(address).finally(() => this.#underWay.delete(definition))
    this.#underWay.set(definition, look)
    return look
  }

  async #look(address: TopicAddress): Promise<boolean> {
    const { kind } = await this.#runner.run(address, { headers: address.headers, ip: null }, { kind: 'check' })
    const isOpen = kind === 'value'
    const ms = isOpen ? openMs : kind === 'unknown' ? unknownMs : guardedMs
    this.#findings.set(address.definition, { isOpen, until: performance.now() + ms })
    return isOpen
  }
}
