import type { TransportPort } from './transport.ts'

/** Headers of a request to the base: JSON, and the token where there is one. */
export async function jsonHeaders(port: TransportPort, accept: string): Promise<Record<string, string>> {
  const token = await port.token()
  return {
    'content-type': 'application/json',
    accept,
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  }
}

/** The body of a poll or stream: every topic and where the client stands in it. */
export function positionsOf(port: TransportPort): Record<string, object> {
  return Object.fromEntries(
    [...port.subscriptions()].map((subscription) => [subscription.topic, subscription.position]),
  )
}

/** How long the server asks to wait, ms (`Retry-After` in seconds), or `undefined`. */
export function retryAfterMs(response: Response): number | undefined {
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined
}
