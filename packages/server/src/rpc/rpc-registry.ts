import { CrossfadeError, hashValue, type ErrorCode } from '@crossfade/protocol'
import type { Identity, Principal } from '../identity/principal.ts'
import { jsonText } from '../json-text.ts'

/** A method that clients call by `request` or `POST {base}/rpc/<method>`. Its result must be JSON; otherwise the caller gets `server_error`. */
export type RpcHandler = (context: { principal: Principal | null; body: unknown }) => unknown

/** Throws when a body is not valid for the method. */
export type RpcValidator = (body: unknown) => void

/** The outcome of a call: the same for each repetition of its id. */
export type RpcOutcome = { readonly result: unknown } | Failure

interface Failure {
  readonly error: { readonly code: ErrorCode; readonly message: string }
}

interface Claim {
  readonly call: string
  readonly bytes: number
  outcome: Promise<RpcOutcome>
  /** When the call ended; `Infinity` while it runs. */
  settledAt: number
}

/** The outcome of a run, and how many characters it has. */
interface Settled {
  readonly answer: RpcOutcome
  readonly bytes: number
}

const rememberMs = 120_000
const sweepMs = 30_000
/** How many characters the remembered calls, and the answers kept for their repetitions, may have. */
const maxRememberedBytes = 64 * 1024 * 1024
/** What a call costs besides its own texts. */
const claimBytes = 500

/** Calls with at-most-once effect: a repetition of an id, until two minutes after the first answer, waits for that answer and gets it (R34). */
export class RpcRegistry {
  readonly #methods = new Map<string, { handler: RpcHandler; validate: RpcValidator }>()
  readonly #claims = new Map<string, Claim>()
  /** The kept answers, oldest first. */
  #kept: { claim: Claim; bytes: number }[] = []
  #keptBytes = 0
  #claimedBytes = 0
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

  /** Never rejects: errors are outcomes. The id is claimed before the handler runs. */
  call(identity: Identity, request: { id: string; method: string; params: unknown }): Promise<RpcOutcome> {
    const key = claimKey(identity, request.id)
    let call: string
    try {
      call = `${request.method}\n${hashValue(request.params ?? null)}`
    } catch (error) {
      return Promise.resolve(
        failure('malformed', error instanceof Error ? error.message : 'The parameters are not JSON.'),
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
      // No handler runs, so there is nothing to remember.
      return Promise.resolve(failure('unknown_method', `There is no method "${request.method}".`))
    }
    const bytes = key.length + call.length + claimBytes
    // A call that is forgotten too early would run twice if it is repeated: so a new one is refused.
    if (this.#claimedBytes + bytes > maxRememberedBytes)
      return Promise.resolve(
        failure('overloaded', 'Too many calls were made in the last two minutes. Call again later.'),
      )
    const run = this.#run(identity, request)
    const outcome = run.then(({ answer }) => answer)
    const newClaim: Claim = { call, bytes, outcome, settledAt: Infinity }
    this.#claims.set(key, newClaim)
    this.#claimedBytes += bytes
    this.#makeRoom()
    void run.then(({ bytes }) => this.#remember(newClaim, bytes))
    return outcome
  }

  /** Answers are kept in bounded memory: the oldest are dropped, and a repetition of such a call is told that its outcome is unknown. */
  #remember(claim: Claim, bytes: number): void {
    claim.settledAt = performance.now()
    this.#kept.push({ claim, bytes })
    this.#keptBytes += bytes
    this.#makeRoom()
  }

  #makeRoom(): void {
    while (this.#keptBytes + this.#claimedBytes > maxRememberedBytes) {
      const oldest = this.#kept.shift()
      if (oldest === undefined) return
      this.#keptBytes -= oldest.bytes
      oldest.claim.outcome = Promise.resolve(
        failure('outcome_unknown', 'The call ran, but its answer is no longer kept. Read what it changed.'),
      )
    }
  }

  close(): void {
    clearInterval(this.#sweeper)
  }

  /** Never rejects. The answer is plain JSON, so that no transport can fail to write it. */
  async #run(identity: Identity, { method, params }: { method: string; params: unknown }): Promise<Settled> {
    const entry = this.#methods.get(method)
    if (!entry) return settled(failure('unknown_method', `There is no method "${method}".`))
    try {
      entry.validate(params)
      const text = jsonText(await entry.handler({ principal: identity.principal, body: params }))
      return { answer: { result: JSON.parse(text) as unknown }, bytes: text.length }
    } catch (error) {
      if (error instanceof CrossfadeError) return settled(failure(error.code, error.message))
      this.#report(error, `method ${method}`)
      return settled(failure('server_error', 'The server failed. Try again later.'))
    }
  }

  #sweep(): void {
    const before = performance.now() - rememberMs
    for (const [key, claim] of this.#claims) {
      if (claim.settledAt > before) continue
      this.#claims.delete(key)
      this.#claimedBytes -= claim.bytes
    }
    const gone = this.#kept.findIndex(({ claim }) => claim.settledAt > before)
    for (const { bytes } of this.#kept.splice(0, gone === -1 ? this.#kept.length : gone)) this.#keptBytes -= bytes
  }
}

/**
 * Whose call it is. Without a principal the id alone decides, since nobody guesses its 128 bits: a cookie that changes between two
 * tries does not make it another call. The id of a principal is quoted, so that it never looks like an anonymous call.
 */
function claimKey({ principal }: Identity, id: string): string {
  return `${principal === null ? '' : JSON.stringify(principal.id)}\n${id}`
}

function settled(failed: Failure): Settled {
  return { answer: failed, bytes: failed.error.message.length }
}

function failure(code: ErrorCode, message: string): Failure {
  return { error: { code, message } }
}
