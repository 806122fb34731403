import type { FastifyRequest } from 'fastify'
import { addressOf, isPrivate } from './client-address.ts'

/** No developer's browser opens this many connections at once. */
const manyConnections = 50

/**
 * Notices that all clients seem to come from one private address: that of a proxy which the application does not know about. Limits by address would then
 * count all visitors as one.
 */
export class ProxyDetector {
  readonly #warn: (message: string) => void
  #isActive = true
  #address: string | null = null
  #forwarded: string | null = null

  constructor(warn: (message: string) => void) {
    this.#warn = warn
  }

  /**
   * Examines a request. Warns once: when a second client is forwarded from the same private address, or when that address has many connections.
   *
   * @param open how many connections there are now.
   */
  examine(request: Pick<FastifyRequest, 'ip' | 'ips' | 'headers'>, open: number): void {
    if (!this.#isActive) return
    const address = addressOf(request)
    if (address === null) return
    this.#address ??= address
    // Only with `trustProxy` does Fastify know several addresses of a request.
    if (request.ips !== undefined || address !== this.#address || !isPrivate(address)) {
      this.#isActive = false
      return
    }
    if (open < manyConnections && !this.#isSecondForwarded(request.headers)) return
    this.#isActive = false
    this.#warn(
      `All clients seem to come from ${address}, a private address: probably a proxy's. Limits by address count all of its visitors without an account as one client. ` +
        `If there is a proxy, tell Fastify about it: Fastify({ trustProxy: '${address}' }).`,
    )
  }

  #isSecondForwarded(headers: FastifyRequest['headers']): boolean {
    const forwarded = headers['x-forwarded-for'] ?? headers.forwarded ?? headers['x-real-ip']
    if (forwarded === undefined) return false
    this.#forwarded ??= String(forwarded)
    return this.#forwarded !== String(forwarded)
  }
}
