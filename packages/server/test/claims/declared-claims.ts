/**
 * An application that declares the claims of its principals. The compiler is the test: what is marked must not compile. A project of its
 * own, as a declaration holds for all files of one.
 */
import crossfade, { value, type CrossfadeOptions, type Principal } from '@crossfade/server'
import type { FastifyInstance } from 'fastify'

declare module '@crossfade/server' {
  interface Claims {
    orgId: string
    role: 'admin' | 'clerk'
    seat?: number
  }
}

export const options: CrossfadeOptions = {
  authenticate: () => ({ id: 'ann', orgId: 'a', role: 'admin' }),
}

export const incomplete: CrossfadeOptions = {
  // @ts-expect-error It must give the role.
  authenticate: () => ({ id: 'ann', orgId: 'a' }),
}

export const other: CrossfadeOptions = {
  // @ts-expect-error The role is not a number.
  authenticate: () => ({ id: 'ann', orgId: 'a', role: 1 }),
}

export function claimsOf(principal: Principal): [string, 'admin' | 'clerk', number | undefined] {
  // @ts-expect-error There is no such claim.
  void principal.orgdI
  return [principal.orgId, principal.role, principal.seat]
}

export async function declare(app: FastifyInstance): Promise<void> {
  await app.register(crossfade, options)
  const handler = (): Promise<object> => Promise.resolve({})
  app.get('/a', { config: { crossfade: { topic: 'a', audience: { group: ['orgId', 'role'] } } } }, handler)
  app.get('/b', { config: { crossfade: { topic: 'b', audience: { group: ({ orgId }) => orgId } } } }, handler)
  app.get('/c', { config: { crossfade: value('c', { audience: { group: ['orgId', 'id'] } }) } }, handler)
  // @ts-expect-error The claim is orgId.
  app.get('/d', { config: { crossfade: { topic: 'd', audience: { group: ['orgdI'] } } } }, handler)
  // @ts-expect-error The claim is orgId.
  app.get('/e', { config: { crossfade: value('e', { audience: { group: ['orgdI'] } }) } }, handler)
  // @ts-expect-error The claim is orgId.
  app.get('/f', { config: { crossfade: { topic: 'f', audience: { group: (who) => who.orgdI } } } }, handler)
}
