import { CrossfadeError, paths } from '@crossfade/protocol'
import { backoffMs } from './backoff.ts'
import type { Environment } from './environment.ts'
import { jsonHeaders } from './transports/headers.ts'

const tries = 3

/** What a call works with. */
export interface CallPort {
  readonly environment: Environment
  /** Absolute URL of the base. */
  readonly base: string
  token(refresh: boolean): Promise<string | undefined>
}

/**
 * Calls a method by `POST {base}/rpc/<method>`. A call whose answer was lost is repeated under the same key: the server runs it once (R34).
 *
 * @throws CrossfadeError with the server's code, or `transport_failed` when no answer came: it may have run.
 */
export async function callMethod(port: CallPort, method: string, params: unknown): Promise<unknown> {
  const key = randomKey()
  for (let attempt = 0; ; attempt++) {
    const response = await post(port, method, params, key, attempt > 0)
    if (response?.ok) return ((await response.json()) as { result?: unknown }).result
    const canRepeat = response === null || response.status === 401 || response.status >= 502
    if (!canRepeat || attempt + 1 >= tries) throw await failureOf(method, response)
    await new Promise<void>((resolve) =>
      port.environment.setTimeout(resolve, backoffMs(attempt, port.environment.random)),
    )
  }
}

/** @returns `null` when no answer came. */
async function post(
  port: CallPort,
  method: string,
  params: unknown,
  key: string,
  refresh: boolean,
): Promise<Response | null> {
  const { environment, base } = port
  const token = await port.token(refresh)
  try {
    return await environment.fetch(`${base}${paths.rpc}/${encodeURIComponent(method)}`, {
      method: 'POST',
      headers: jsonHeaders(token, { 'idempotency-key': key }),
      body: JSON.stringify(params ?? null),
    })
  } catch {
    return null
  }
}

async function failureOf(method: string, response: Response | null): Promise<CrossfadeError> {
  if (response === null) return new CrossfadeError('transport_failed', `No answer to ${method} came. It may have run.`)
  const problem = (await response.json().catch(() => ({}))) as { code?: CrossfadeError['code']; detail?: string }
  return new CrossfadeError(
    problem.code ?? 'server_error',
    problem.detail ?? `The call of ${method} failed with ${response.status}.`,
  )
}

function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
