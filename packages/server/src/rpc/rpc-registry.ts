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
  readonly outcome: Promise<RpcOutcome>
  readonly at: number
}

const rememberMs = 120_000
const sweepMs = 30_000

/** Calls with at-most-once effect: a repeated id within two minutes waits for and gets the first answer (R34). */
export class RpcRegistry {
  readonly #methods = new Map<string, { handler: RpcHandler; validate: RpcValidator }>()
  readonly #claims = new Map<string, Claim>()
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
    const key = `${identity.principal?.id ?? identity.key}\n${request.id}`
    const call = `${request.method}\n${hashValue(request.params ?? null)}`
    const claim = this.#claims.get(key)
    if (claim) {
      return claim.call === call
        ? claim.outcome
        : Promise.resolve(
            failure('id_reused', `The id "${request.id}" was used for another call. Give each call a fresh random id.`),
          )
    }
    const outcome = this.#run(identity, request)
    this.#claims.set(key, { call, outcome, at: performance.now() })
    return outcome
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
  }
}

function failure(code: ErrorCode, message: string): RpcOutcome {
  return { error: { code, message } }
}
