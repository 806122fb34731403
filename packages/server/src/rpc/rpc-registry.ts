import { CrossfadeError, hashValue, type ErrorCode } from '@crossfade/protocol'
import type { Identity, Principal } from '../identity/principal.ts'

/** A method that clients call by `request` or `POST {base}/rpc/<method>`. */
export type RpcHandler = (context: { principal: Principal | null; body: unknown }) => unknown

/** Throws when a body is not what the method takes. */
export type RpcValidator = (body: unknown) => void

/** What a call came to: the same for each repetition of its id. */
export type RpcOutcome =
  | { readonly result: unknown }
  | { readonly error: { readonly code: ErrorCode; readonly message: string } }

interface Claim {
  readonly call: string
  outcome: Promise<RpcOutcome>
  readonly at: number
}

const rememberMs = 120_000
const sweepMs = 30_000
/** Characters of all the answers that are kept for repetitions. */
const maxRememberedBytes = 64 * 1024 * 1024

/** Calls with at-most-once effect: a repeated id within two minutes waits for and gets the first answer (R34). */
export class RpcRegistry {
  readonly #methods = new Map<string, { handler: RpcHandler; validate: RpcValidator }>()
  readonly #claims = new Map<string, Claim>()
  /** Answers that are kept, the oldest first. */
  #kept: { claim: Claim; bytes: number }[] = []
  #keptBytes = 0
  readonly #report: (error: unknown, context: string) => void
  readonly #sweeper: NodeJS.Timeout

  constructor(report: (error: unknown, context: string) => void) {
    this.#report = report
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs)
    this.#sweeper.unref()
  }

  /** @throws CrossfadeError `route_conflict` when the name is taken. */
  register(method: string, validate: RpcValidator, handler: RpcHandler): void {
    if (this.#methods.has(method))
      throw new CrossfadeError('route_conflict', `The method "${method}" is registered twice.`)
    this.#methods.set(method, { handler, validate })
  }

  /** Never rejects: errors are outcomes. The claim is made before the handler runs. */
  call(identity: Identity, request: { id: string; method: string; params: unknown }): Promise<RpcOutcome> {
    const key = claimKey(identity, request.id)
    let call: string
    try {
      call = `${request.method}\n${hashValue(request.params ?? null)}`
    } catch (error) {
      return Promise.resolve(
        failure('malformed', error instanceof Error ? error.message : 'The parameters are no JSON.'),
      )
    }
    const claim = this.#claims.get(key)
    if (claim) {
      return claim.call === call
        ? claim.outcome
        : Promise.resolve(
            failure('id_reused', `The id "${request.id}" was used for another call. Give each call a fresh random id.`),
          )
    }
    if (!this.#methods.has(request.method)) {
      // Nothing runs, so there is nothing to remember.
      return Promise.resolve(failure('unknown_method', `There is no method "${request.method}".`))
    }
    const outcome = this.#run(identity, request)
    const made: Claim = { call, outcome, at: performance.now() }
    this.#claims.set(key, made)
    void outcome.then((answer) => this.#remember(made, answer))
    return outcome
  }

  /** Answers are kept in bounded memory: the oldest give way, and a repetition of such a call hears that its outcome is unknown. */
  #remember(claim: Claim, answer: RpcOutcome): void {
    const bytes = JSON.stringify(answer).length
    this.#kept.push({ claim, bytes })
    this.#keptBytes += bytes
    while (this.#keptBytes > maxRememberedBytes) {
      const oldest = this.#kept.shift()
      if (oldest === undefined) return
      this.#keptBytes -= oldest.bytes
      oldest.claim.outcome = Promise.resolve(
        failure('outcome_unknown', 'The call ran, but its answer is not kept any more. Read what it changed.'),
      )
    }
  }

  close(): void {
    clearInterval(this.#sweeper)
  }

  async #run(identity: Identity, { method, params }: { method: string; params: unknown }): Promise<RpcOutcome> {
    const entry = this.#methods.get(method)
    if (!entry) return failure('unknown_method', `There is no method "${method}".`)
    try {
      entry.validate(params)
      return { result: (await entry.handler({ principal: identity.principal, body: params })) ?? null }
    } catch (error) {
      if (error instanceof CrossfadeError) return failure(error.code, error.message)
      this.#report(error, `method ${method}`)
      return failure('server_error', 'The server failed. Try again later.')
    }
  }

  #sweep(): void {
    const before = performance.now() - rememberMs
    for (const [key, claim] of this.#claims) {
      if (claim.at > before) break
      this.#claims.delete(key)
    }
    const gone = this.#kept.findIndex(({ claim }) => claim.at > before)
    for (const { bytes } of this.#kept.splice(0, gone === -1 ? this.#kept.length : gone)) this.#keptBytes -= bytes
  }
}

/** A name chosen by the application never meets another client's key: ids are quoted, keys of credentials are not. */
function claimKey({ principal, key }: Identity, id: string): string {
  return `${principal === null ? key : JSON.stringify(principal.id)}\n${id}`
}

function failure(code: ErrorCode, message: string): RpcOutcome {
  return { error: { code, message } }
}
