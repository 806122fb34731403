import type { TransportPort } from './transport.ts'

/** Headers of a request to the base: JSON, and the token where there is one. */
export async function jsonHeaders(
  port: TransportPort,
  accept: string,
  refresh: boolean = false,
): Promise<Record<string, string>> {
  const token = await port.token(refresh)
  return {
    'content-type': 'application/json',
    accept,
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  }
}

/** How long the server asks to wait, ms (`Retry-After`, RFC 9110 §10.2.3: seconds or a date), at most an hour; `undefined` when it does not. */
export function retryAfterMs(response: Response, now: number): number | undefined {
  const text = response.headers.get('retry-after')
  if (text === null) return undefined
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 3_600_000) : undefined
}
