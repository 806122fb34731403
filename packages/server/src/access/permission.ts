import { setTimeout as pause } from 'node:timers/promises'
import { CrossfadeError } from '@crossfade/protocol'
import type { EndpointRunner } from '../endpoints/endpoint-runner.ts'
import type { TopicAddress } from '../endpoints/topic-address.ts'
import { RunError, type Answer, type Refusal, type Unknown } from '../endpoints/verdict.ts'
import type { Identity } from '../identity/principal.ts'

/** Whether these credentials may read a topic. `unknown` is neither a permission nor a refusal. */
export type Permission = { readonly kind: 'granted' } | Refusal | Unknown

/** The values that clients share, as far as a permission check concerns them. */
export interface SharedValues {
  /**
   * Remembers the shared value as it is before a run, or `null` when there is none that could be compared.
   *
   * @returns what compares the run's answer with it; `unsure` when the value changed meanwhile.
   */
  compareShared(
    address: TopicAddress,
  ): ((identity: Identity, answer: Answer) => Promise<'same' | 'differs' | 'unsure'>) | null
  /** Its answers turned out to differ between those who should share them. */
  isUnshared(address: TopicAddress): boolean
  /** These credentials are known to get the very value that is shared, or nothing is shared by a group. */
  isSharer(address: TopicAddress, identity: Identity): boolean
}

/**
 * Asks whether these credentials may read a topic: the route's `authorize`, or the endpoint itself (R14). Never rejects.
 *
 * Where the answer is shared, the body that the endpoint gives these credentials is compared with it: a group that is named wrongly
 * would show one tenant what is another's.
 */
export async function askPermission(
  address: TopicAddress,
  identity: Identity,
  { runner, shared }: { readonly runner: EndpointRunner; readonly shared: SharedValues },
): Promise<Permission> {
  const { definition, params, name } = address
  if (definition.authorize)
    return authorized(() => definition.authorize?.({ principal: identity.principal, params, topic: name }))
  for (let looks = 1; ; looks++) {
    if (shared.isUnshared(address))
      return { kind: 'refused', status: 0, detail: `The topic "${name}" is not shared any more. Read its endpoint.` }
    const compare = shared.compareShared(address)
    const verdict = await runner.run(address, identity, { kind: 'check' })
    if (verdict.kind === 'unchanged') return { kind: 'granted' }
    if (verdict.kind !== 'value') return verdict
    const comparison = (await compare?.(identity, verdict.answer)) ?? 'same'
    if (comparison === 'same' || (comparison === 'unsure' && looks >= maxLooks)) return { kind: 'granted' }
    // A handler may read from a replica that lags: what differs now may be the same in a moment.
    await pause(comparison === 'unsure' ? unsurePauseMs : Math.max(differentPauseMs, ...definition.reloadAfterMs))
  }
}

/** A value that changes all the time cannot be compared; the credentials themselves were good each time. */
const maxLooks = 3
const unsurePauseMs = 20
const differentPauseMs = 500

async function authorized(authorize: () => boolean | undefined | Promise<boolean | undefined>): Promise<Permission> {
  try {
    const allowed = await authorize()
    return allowed === true ? { kind: 'granted' } : { kind: 'refused', status: 403, detail: 'authorize() said no.' }
  } catch (error) {
    if (error instanceof CrossfadeError && (error.code === 'forbidden' || error.code === 'unauthenticated'))
      return { kind: 'refused', status: error.code === 'forbidden' ? 403 : 401, detail: error.message }
    const detail = `authorize() failed: ${error instanceof Error ? error.message : String(error)}`
    return { kind: 'unknown', status: 0, reason: 'unverified', retryAfterMs: null, detail }
  }
}

/** @throws RunError when it is not granted. */
export function requireGranted(permission: Permission): void {
  if (permission.kind !== 'granted') throw new RunError(permission)
}
