import { CrossfadeError, paths, type Response as CallAnswer } from '@crossfade/protocol'
import { backoffMs } from './backoff.ts'
import type { Environment } from './environment.ts'
import type { Call } from './transports/transport.ts'
import { jsonHeaders } from './transports/headers.ts'

const tries = 3

/** What a call works with. */
export interface CallPort {
  readonly environment: Environment
  /** Absolute URL of the base. */
  readonly base: string
  token(refresh: boolean): Promise<string | undefined>
  /** Sends it over the connection that lives. @returns `null` where none takes it; it resolves to `null` when the connection ended first. */
  send(call: Call): Promise<CallAnswer | null> | null
}

/** What came of one try: a result, an error, or no answer. */
type Outcome = { readonly result: unknown } | { readonly error: CrossfadeError; readonly canRepeat: boolean }

/**
 * Calls a method over the WebSocket that lives, else by `POST {base}/rpc/<method>`. A call whose answer was lost is repeated under the same key,
 * whichever way is open then: the server runs it once (R34).
 *
 * @throws CrossfadeError with the server's code, or `transport_failed` when no answer came: it may have run.
 */
export async function callMethod(port: CallPort, method: string, params: unknown): Promise<unknown> {
  const call: Call = { id: randomKey(), method, params: params ?? null }
  for (let attempt = 0; ; attempt++) {
    const sent = port.send(call)
    const outcome = sent === null ? await post(port, call, attempt > 0) : outcomeOf(method, await sent)
    if ('result' in outcome) return outcome.result
    if (!outcome.canRepeat || attempt + 1 >= tries) throw outcome.error
    await new Promise<void>((resolve) =>
      port.environment.setTimeout(resolve, backoffMs(attempt, port.environment.random)),
    )
  }
}

function outcomeOf(method: string, answer: CallAnswer | null): Outcome {
  if (answer === null) return noAnswer(method)
  if (answer.error === undefined) return { result: answer.result }
  const { code, message } = answer.error
  return { error: new CrossfadeError(code, message), canRepeat: code === 'overloaded' }
}

async function post(port: CallPort, { id, method, params }: Call, refresh: boolean): Promise<Outcome> {
  const { environment, base } = port
  const token = await port.token(refresh)
  let response: Response
  try {
    response = await environment.fetch(`${base}${paths.rpc}/${encodeURIComponent(method)}`, {
      method: 'POST',
      headers: jsonHeaders(token, { 'idempotency-key': id }),
      body: JSON.stringify(params),
    })
  } catch {
    return noAnswer(method)
  }
  if (response.ok) return { result: ((await response.json()) as { result?: unknown }).result }
  const problem = (await response.json().catch(() => ({}))) as { code?: CrossfadeError['code']; detail?: string }
  const message = problem.detail ?? `The call of ${method} failed with ${response.status}.`
  return {
    error: new CrossfadeError(problem.code ?? 'server_error', message),
    canRepeat: response.status === 401 || response.status >= 502,
  }
}

function noAnswer(method: string): Outcome {
  return {
    error: new CrossfadeError('transport_failed', `No answer to ${method} came. It may have run.`),
    canRepeat: true,
  }
}

function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
