import { CrossfadeError } from '@crossfade/protocol'
import { identityOf, type GivenPrincipal, type Headers, type Identity, type Principal } from './principal.ts'
import { requireUsable } from './usable-principal.ts'

/**
 * Identifies the sender of these headers, as the application does for its own requests (R50). `null`: anonymous.
 *
 * @throws CrossfadeError `unauthenticated` when there is a token and it is invalid or expired.
 */
export type Authenticate = (credentials: { headers: Headers }) => GivenPrincipal | null | Promise<GivenPrincipal | null>

/** Identifies clients on every transport by the application's own `authenticate`. */
export class Authenticator {
  readonly #authenticate: Authenticate
  readonly #vary: () => readonly string[]

  /** @param vary all headers that answers depend on besides the credentials. */
  constructor(authenticate: Authenticate | undefined, vary: () => readonly string[]) {
    this.#authenticate = authenticate ?? (() => null)
    this.#vary = vary
  }

  /**
   * @param ip the client's network address, or `null` where there is none.
   * @throws CrossfadeError `unauthenticated`, or `server_error` when `authenticate` gave an unusable principal.
   */
  async identify(headers: Headers, ip: string | null): Promise<Identity> {
    const principal = await this.#principal(headers)
    if (principal) requireUsable(principal)
    if (principal?.expiresAt !== undefined && principal.expiresAt <= Date.now()) {
      throw new CrossfadeError('unauthenticated', 'The token has expired. Log in again.')
    }
    return identityOf(principal, headers, this.#vary(), ip)
  }

  /** The identity of the token in a `hello` or `token` message, which stands for the `Authorization` header. */
  identifyToken(token: string, headers: Headers, ip: string | null): Promise<Identity> {
    return this.identify({ ...headers, authorization: `Bearer ${token}` }, ip)
  }

  async #principal(headers: Headers): Promise<Principal | null> {
    try {
      return await this.#authenticate({ headers })
    } catch (error) {
      if (error instanceof CrossfadeError) throw error
      throw new CrossfadeError('unauthenticated', 'The credentials were not accepted. Log in again.', { cause: error })
    }
  }
}
