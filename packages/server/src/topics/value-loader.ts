import type { RunAs, RunOptions } from '../endpoints/endpoint-runner.ts'
import { isWithoutCredentials } from '../access/grants.ts'
import type { TopicAddress } from '../endpoints/topic-address.ts'
import { RunError, type Answer, type Unknown, type Verdict } from '../endpoints/verdict.ts'
import { hasExpired, type Identity } from '../identity/principal.ts'
import type { CredentialSource } from './credential-source.ts'

/** What loading a value needs from outside. */
export interface LoaderPorts {
  /** Runs the topic's endpoint. Never rejects. */
  run(address: TopicAddress, as: RunAs, options: RunOptions): Promise<Verdict>
  /** The credentials with which a public topic is loaded. */
  readonly service: { readonly headers: Readonly<Record<string, string>>; readonly ip: string | null }
  /** The number of revocations so far, read before a run. */
  revocationSeq(): number
  /** A run that began at `seq` answered `identity` with 2xx: it may read the topic. */
  granted(address: TopicAddress, identity: Identity, seq: number): void
  /** An endpoint answered a run with these headers, which belong to no client in particular, with 2xx. */
  grantedToRun(address: TopicAddress, as: RunAs): void
  /** An endpoint refused `identity`. */
  refused(address: TopicAddress, identity: Identity): void
  /** An endpoint refused the load of a public topic. */
  refusedToRun(address: TopicAddress): void
  /** A public answer looks private (R15). */
  suspicious(address: TopicAddress, reason: string): void
  /** The outcome of a load. */
  loaded(address: TopicAddress, verdict: Verdict): void
}

/** The value from a run, and the identity that loaded it; `null`: the service. */
export interface Loaded {
  readonly answer: Answer
  readonly by: Identity | null
}

/** Loads the value of one topic: chooses whose credentials to use, runs the endpoint, and reports what its answer means for them. */
export class ValueLoader {
  readonly #address: TopicAddress
  readonly #ports: LoaderPorts
  readonly #credentials: CredentialSource

  constructor(address: TopicAddress, ports: LoaderPorts, credentials: CredentialSource) {
    this.#address = address
    this.#ports = ports
    this.#credentials = credentials
  }

  /**
   * Runs the endpoint once.
   *
   * @param subscribers whose credentials may be used, when the topic is not public.
   * @param may decides whose credentials may be used, when the topic is not public.
   * @param loader the client whose credentials must be used, if it has to be one in particular.
   * @throws RunError when it is refused, gone, or unknown.
   */
  async load(
    subscribers: Iterable<{ readonly identity: Identity }>,
    may: (identity: Identity) => boolean,
    loader: Identity | null,
  ): Promise<Loaded> {
    const { definition, name } = this.#address
    const isPublic = definition.audience === 'public'
    const identity =
      loader !== null && !hasExpired(loader) ? loader : this.#credentials.pick(subscribers, isPublic ? undefined : may)
    if (isPublic) return this.#loadForAll(this.runAs(identity), identity)
    if (identity !== null) return this.#loadAs(identity)
    const detail = `There are no subscriber's credentials to load "${name}" with: they have expired, or are being checked.`
    throw new RunError({ kind: 'unknown', status: 0, reason: 'unverified', retryAfterMs: null, detail })
  }

  /** The run that loads a value as this identity; `null`: as the service, for a public topic. */
  runAs(by: Identity | null): RunAs {
    return this.#address.definition.audience === 'public' || by === null ? this.#service(by) : by
  }

  async #loadForAll(as: RunAs, identity: Identity | null): Promise<Loaded> {
    const seq = this.#ports.revocationSeq()
    const verdict = await this.#run(as)
    if (verdict.kind !== 'value') {
      if (verdict.kind !== 'unknown') this.#ports.refusedToRun(this.#address)
      throw new RunError(verdict)
    }
    const { answer } = verdict
    if (answer.privateReason !== null) throw this.#notShared(answer.privateReason)
    this.#ports.grantedToRun(this.#address, as)
    // The client whose address it was could have got the same without its credentials.
    const isAnonymous = isWithoutCredentials(this.#address, as.headers)
    if (isAnonymous && identity !== null && identity.ip === as.ip) this.#ports.granted(this.#address, identity, seq)
    return { answer, by: null }
  }

  async #loadAs(identity: Identity): Promise<Loaded> {
    const seq = this.#ports.revocationSeq()
    const verdict = await this.#run(identity)
    if (verdict.kind === 'value') {
      this.#ports.granted(this.#address, identity, seq)
      return { answer: verdict.answer, by: identity }
    }
    if (verdict.kind !== 'unknown') {
      this.#credentials.refuse(identity)
      this.#ports.refused(this.#address, identity)
    }
    throw new RunError(verdict)
  }

  async #run(as: RunAs): Promise<Exclude<Verdict, { kind: 'unchanged' }>> {
    const verdict = await this.#ports.run(this.#address, as, { kind: 'load' })
    this.#ports.loaded(this.#address, verdict)
    if (verdict.kind !== 'unchanged') return verdict
    throw new Error(`a load of "${this.#address.name}" is not conditional`)
  }

  /** An answer that looks private belongs only to the client that asked for it (R15). */
  #notShared(reason: string): RunError {
    this.#ports.suspicious(this.#address, reason)
    const detail = `The answer of "${this.#address.name}" is not shared because ${reason}.`
    return new RunError({ kind: 'refused', status: 403, detail })
  }

  /**
   * The service sends the headers that the topic varies by, such as a language. Its runs carry its own address, or that of a client for
   * which it asks, so that a limit by address does not count all loads as one visitor's; never an address of this machine, which may be shown more.
   */
  #service(identity: Identity | null): RunAs {
    const { headers, ip } = this.#ports.service
    const clientIp = identity?.ip ?? null
    return {
      headers: { ...headers, ...this.#address.headers },
      ip: ip ?? (clientIp !== null && !loopback.has(clientIp) ? clientIp : null),
    }
  }
}

const loopback: ReadonlySet<string> = new Set(['127.0.0.1', '::1', '::ffff:127.0.0.1'])

/** Why a failed load makes its topic stale (R55). */
export function staleReasonOf(error: unknown): Unknown['reason'] {
  if (!(error instanceof RunError)) return 'endpoint_failed'
  return error.verdict.kind === 'unknown' ? error.verdict.reason : 'refused'
}

/** The endpoint's `Retry-After`, ms. */
export function retryAfterOf(error: unknown): number {
  return error instanceof RunError && error.verdict.kind === 'unknown' ? (error.verdict.retryAfterMs ?? 0) : 0
}
