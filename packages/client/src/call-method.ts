import { CrossfadeError, paths, type ErrorCode, type Response as CallAnswer } from '@crossfade/protocol'
import { backoffMs } from './backoff.ts'
import type { Environment } from './environment.ts'
import type { Call } from './transports/transport.ts'
import { jsonHeaders } from './transports/headers.ts'

const tries = 3
/** A call that came to one of these is made again: with a fresh token, later, or because nobody knows what came of it. */
const repeated = new Set<ErrorCode>(['unauthenticated', 'overloaded', 'transport_failed'])

/** What a call works with. */
export interface CallPort {
  readonly environment: Environment
  /** Absolute URL of the base. */
  readonly base: string
  token(refresh: boolean): Promise<string | undefined>
  /** Sends it over the connection that lives. @returns `null` where none takes it; it resolves to `null` when the connection ended first. */
  send(call: Call): Promise<CallAnswer | null> | null
}

/**
 * Calls a method over the WebSocket that lives, else by `POST {base}/rpc/<method>`. A call whose answer was lost is repeated under the same key,
 * whichever way is open then: the server runs it once (R34).
 *
 * @throws CrossfadeError with the server's code, or `transport_failed` when no answer came: it may have run.
 */
export async function callMethod(port: CallPort, method: string, params: unknown): Promise<unknown> {
  const call: Call = { id: randomKey(), method, params: params ?? null }
  for (let attempt = 0; ; attempt++) {
    const answer = await (port.send(call) ?? post(port, call, attempt > 0))
    if (answer !== null && answer.error === undefined) return answer.result
    const { code, message } = answer?.error ?? {
      code: 'transport_failed' as const,
      message: `No answer to ${method} came. It may have run.`,
    }
    if (!repeated.has(code) || attempt + 1 >= tries) throw new CrossfadeError(code, message)
    await new Promise<void>((resolve) =>
      port.environment.setTimeout(resolve, backoffMs(attempt, port.environment.random)),
    )
  }
}

/** @returns `null` when no answer came. */
async function post(port: CallPort, { id, method, params }: Call, refresh: boolean): Promise<CallAnswer | null> {
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
    return null
  }
  if (response.ok) return (await response.json()) as CallAnswer
  const problem = (await response.json().catch(() => ({}))) as { code?: ErrorCode; detail?: string }
  // Without a code it is not our server that answered, which says nothing of the call.
  const { code = 'transport_failed', detail = `The call of ${method} failed with ${response.status}.` } = problem
  return { type: 'response', id, error: { code, message: detail } }
}

function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
