import { createHash } from 'node:crypto'

/** Who a connection or request is authenticated as (PROTOCOL §1). */
export interface Principal {
  /** Stable id of the account. The audience of a `principal` topic. */
  readonly id: string
  /** When the credentials run out, ms since 1970 (R53). Default: never. */
  readonly expiresAt?: number
  /** Anything else that `audience` and `authorize` functions want to see. */
  readonly [claim: string]: unknown
}

/** Request headers, lower-case names, as Node gives them. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>

/** A client's credentials and who they prove it to be. The headers stay in this process: no broker ever sees them. */
export interface Identity {
  readonly principal: Principal | null
  /** The headers that an in-process run of an endpoint needs in order to be this client. */
  readonly headers: Readonly<Record<string, string>>
  /** Same key, same principal by the same credentials: grants are cached by it (R52). */
  readonly key: string
  /** The network address that the client has for the application, or `null` where there is none, as on a Unix socket. */
  readonly ip: string | null
}

/**
 * Makes an identity of a client's headers.
 *
 * @param vary further headers that an answer may depend on, lower-case.
 * @param ip the client's network address.
 */
export function identityOf(
  principal: Principal | null,
  headers: Headers,
  vary: readonly string[],
  ip: string | null = null,
): Identity {
  const kept: Record<string, string> = {}
  for (const name of ['authorization', 'cookie', ...vary]) {
    const value = headers[name]
    if (value !== undefined) kept[name] = Array.isArray(value) ? value.join(name === 'cookie' ? '; ' : ', ') : value
  }
  return { principal, headers: kept, key: credentialKey(principal, kept), ip }
}

/** Whether the credentials of this client have run out. */
export function hasExpired({ principal }: Identity): boolean {
  return (principal?.expiresAt ?? Infinity) <= Date.now()
}

/** The principal is part of it: the application may know it by a header that is not kept. */
function credentialKey(principal: Principal | null, headers: Readonly<Record<string, string>>): string {
  const hash = createHash('sha256').update(`${JSON.stringify(principal?.id ?? null)}\0`)
  for (const name of Object.keys(headers).toSorted()) hash.update(`${name}\0${headers[name]}\0`)
  return hash.digest('base64url')
}
