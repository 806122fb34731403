/** The WebSocket close codes and `bye` codes of PROTOCOL §6; those below 4000 are RFC 6455's. */
export const closeCodes = {
  goingAway: 1001,
  invalidData: 1003,
  tooLarge: 1009,
  malformed: 4400,
  unauthenticated: 4401,
  forbidden: 4403,
  unsupportedVersion: 4406,
  timeout: 4408,
  tooSlow: 4413,
  tooMany: 4414,
  tooManyConnections: 4429,
  tokenTooLarge: 4431,
  expired: 4440,
  serverError: 4500,
  overloaded: 4503,
} as const

/** The name of a close code. */
export type CloseName = keyof typeof closeCodes

/**
 * What a client does after a close:
 * `no` – not come back by itself; `yes` – come back with backoff; `after` – come back after the `retry` of `bye`, jittered;
 * `refresh` – get a fresh token once, then backoff.
 */
export type CloseRetry = 'no' | 'yes' | 'after' | 'refresh'

/** A row of the table of close codes. */
export interface CloseRule {
  readonly name: CloseName | 'unknown'
  readonly retry: CloseRetry
}

const retries: Readonly<Record<CloseName, CloseRetry>> = {
  goingAway: 'after',
  invalidData: 'no',
  tooLarge: 'no',
  malformed: 'no',
  unauthenticated: 'refresh',
  forbidden: 'no',
  unsupportedVersion: 'no',
  timeout: 'yes',
  tooSlow: 'yes',
  tooMany: 'after',
  tooManyConnections: 'after',
  tokenTooLarge: 'no',
  expired: 'refresh',
  serverError: 'yes',
  overloaded: 'after',
}

/**
 * What a close code means for the client (PROTOCOL §6).
 *
 * @returns `unknown`, to be retried with backoff, for a code outside the table: 1006 and its like are how networks end a socket.
 */
export function closeRule(code: number): CloseRule {
  for (const [name, value] of Object.entries(closeCodes) as [CloseName, number][]) {
    if (value === code) return { name, retry: retries[name] }
  }
  return { name: 'unknown', retry: 'yes' }
}
