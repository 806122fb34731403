import { CrossfadeError } from '@crossfade/protocol'
import type { FastifyRequest } from 'fastify'
import { addressOf } from '../connections/client-address.ts'
import type { Identity } from '../identity/principal.ts'
import type { TransportContext } from './context.ts'

/**
 * Identifies a client by its headers, or by the token of a message. Bad credentials are charged to the address: verifying them costs work.
 *
 * @throws CrossfadeError `unauthenticated`, `too_fast`, or `server_error` when `authenticate` gave an unusable principal.
 */
export async function identify(context: TransportContext, request: FastifyRequest, token?: string): Promise<Identity> {
  const { authenticator, rate, skips } = context
  const ip = addressOf(request)
  rate.requireGoodCredentials(ip)
  try {
    return await (token === undefined
      ? authenticator.identify(request.headers, ip)
      : authenticator.identifyToken(token, request.headers, ip))
  } catch (error) {
    if (error instanceof CrossfadeError && error.code === 'unauthenticated') rate.badCredentials(ip)
    else if (error instanceof CrossfadeError && error.cause instanceof Error)
      skips.unusablePrincipal(error.cause.message)
    throw error
  }
}
