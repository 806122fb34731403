import { createHash } from 'node:crypto'

/**
 * The claims that an application's principals have besides their id, for it to declare:
 *
 * ```ts
 * declare module '@crossfade/server' {
 *   interface Claims {
 *     orgId: string
 *   }
 * }
 * ```
 *
 * Then `authenticate` must give these claims, and `audience` and `authorize` know them and no others. Default: any claim, of any type.
 */
// oxlint-disable-next-line typescript/no-empty-object-type typescript/no-empty-interface
export interface Claims {}

/** Who a connection or request is authenticated as (PROTOCOL §1), with its claims. */
export type Principal = {
  /** Stable id of the account, not empty and not built from a missing value. The audience of a `principal` topic. */
  readonly id: string
  /** When the credentials expire, ms since 1970 (R53), not seconds as in the `exp` of a JWT. Default: never. */
  readonly expiresAt?: number
} & Claimed<Claims>

/**
 * A principal as `authenticate` may give it: where no {@link Claims} are declared any object with an id, so that an interface of the
 * application, which has no index signature, is one.
 */
export type GivenPrincipal =
  | Principal
  | (keyof Claims extends never ? { readonly id: string; readonly expiresAt?: number } : never)

/** Names of what a principal has; any name, where {@link Claims} are not declared. */
export type ClaimName = NameOf<Claims>

type Claimed<Given> = keyof Given extends never ? { readonly [claim: string]: unknown } : Readonly<Given>
type NameOf<Given> = keyof Given extends never ? string : 'id' | Extract<keyof Given, string>

/** Request headers, lower-case names, as Node gives them. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>

/** A client's credentials and the principal that they prove. The headers stay in this process: no broker ever sees them. */
export interface Identity {
  readonly principal: Principal | null
  /** The headers that an in-process run of an endpoint needs in order to be this client. */
  readonly headers: Readonly<Record<string, string>>
  /** Equal keys mean the same principal with the same credentials: grants are cached by it (R52). */
  readonly key: string
  /** The network address that the client has for the application, or `null` where there is none, as on a Unix socket. */
  readonly ip: string | null
}

/**
 * Creates an identity from a client's headers.
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
  return { principal, headers: kept, key: credentialKey(principal, kept, ip), ip }
}

/** Whether the credentials of this client have expired. */
export function hasExpired({ principal }: Identity): boolean {
  return (principal?.expiresAt ?? Infinity) <= Date.now()
}

/**
 * The principal is part of it: the application may recognise it by a header that is not kept. Without one it is the network address that an
 * endpoint may go by.
 */
function credentialKey(
  principal: Principal | null,
  headers: Readonly<Record<string, string>>,
  ip: string | null,
): string {
  const hash = createHash('sha256').update(`${JSON.stringify(principal?.id ?? null)}\0`)
  if (principal === null) hash.update(`${ip}\0`)
  for (const name of Object.keys(headers).toSorted()) hash.update(`${name}\0${headers[name]}\0`)
  return hash.digest('base64url')
}
