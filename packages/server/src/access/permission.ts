import { setTimeout as pause } from 'node:timers/promises'
import { CrossfadeError } from '@crossfade/protocol'
import type { EndpointRunner, RunAs } from '../endpoints/endpoint-runner.ts'
import type { TopicAddress } from '../endpoints/topic-address.ts'
import { RunError, type Answer, type Refusal, type Unknown } from '../endpoints/verdict.ts'
import type { Identity } from '../identity/principal.ts'

/** Whether these credentials may read a topic. `unknown` is neither a permission nor a refusal. */
export type Permission = { readonly kind: 'granted' } | Refusal | Unknown

/**
 * How a client's own answer compares with the value that it would share. `unsure`: the value changed meanwhile. `stale`: it is old, and cannot
 * be loaded.
 */
export type Comparison = 'same' | 'differs' | 'unsure' | 'stale'

/** The shared value as it was before a client's own run. */
export interface SharedValue {
  /** The identity that the value was read as; `null`: its credentials have expired. */
  readonly loadedAs: RunAs | null
  /** @param reference what the endpoint answered {@link loadedAs} at the same time, if it was asked. */
  compare(identity: Identity, answer: Answer, reference: Answer | null): Promise<Comparison>
}

/** The values that clients share, as far as a permission check concerns them. */
export interface SharedValues {
  /** The shared value, or `null` when there is none that could be compared. */
  sharedValue(address: TopicAddress): SharedValue | null
  /** The value changes so fast that a client's own answer cannot be compared with it. */
  notCompared(address: TopicAddress): void
  /** The answers turned out to differ between clients that should share them. */
  isUnshared(address: TopicAddress): boolean
  /** These credentials are known to get the value that is shared, or the topic has no group. */
  getsSharedValue(address: TopicAddress, identity: Identity): boolean
}

/**
 * Asks whether these credentials may read a topic: the route's `authorize`, or the endpoint itself (R14). Never rejects.
 *
 * Where the answer is shared, the body that the endpoint gives these credentials is compared with it: a wrongly named group
 * would show one tenant another tenant's data.
 */
export async function askPermission(
  address: TopicAddress,
  identity: Identity,
  ports: { readonly runner: EndpointRunner; readonly shared: SharedValues },
): Promise<Permission> {
  const { definition, params, name } = address
  const { shared, runner } = ports
  if (definition.authorize) {
    const { authorize } = definition
    return authorized(() => authorize({ principal: identity.principal, params, topic: name }), runner.timeoutMs)
  }
  for (let attempt = 1; attempt <= maxComparisons; attempt++) {
    if (shared.isUnshared(address))
      return { kind: 'refused', status: 0, detail: `The topic "${name}" is no longer shared. Read its endpoint.` }
    const outcome = await compareOnce(address, identity, ports, attempt > 1)
    if (outcome === 'stale')
      return notComparable(`The value of "${name}" cannot be loaded now, so nobody knows whether it is yours, too.`)
    if (outcome !== 'differs' && outcome !== 'unsure') return outcome
    if (outcome === 'unsure') await pause(unsurePauseMs)
  }
  shared.notCompared(address)
  return notComparable(`The topic "${name}" changes so fast that it cannot be told whether its value is yours, too.`)
}

function notComparable(why: string): Unknown {
  const detail = `${why} Ask again.`
  return { kind: 'unknown', status: 200, reason: 'unverified', retryAfterMs: retryComparisonMs, detail }
}

/** How often a value that changes all the time is compared before the check gives up for now. */
const maxComparisons = 5
const unsurePauseMs = 20
const retryComparisonMs = 5_000

/** @param inPairs also asks, at the same time, as the identity that loaded the shared value: even a fast value is then the same for both. */
async function compareOnce(
  address: TopicAddress,
  identity: Identity,
  { runner, shared }: { readonly runner: EndpointRunner; readonly shared: SharedValues },
  inPairs: boolean,
): Promise<Permission | Exclude<Comparison, 'same'>> {
  const value = shared.sharedValue(address)
  const as = inPairs ? (value?.loadedAs ?? null) : null
  const [verdict, reference] = await Promise.all([
    runner.run(address, identity, { kind: 'check' }),
    as && runner.run(address, as, { kind: 'check' }),
  ])
  if (verdict.kind === 'unchanged') return { kind: 'granted' }
  if (verdict.kind !== 'value') return verdict
  const comparison = await value?.compare(
    identity,
    verdict.answer,
    reference?.kind === 'value' ? reference.answer : null,
  )
  return comparison === undefined || comparison === 'same' ? { kind: 'granted' } : comparison
}

async function authorized(authorize: () => unknown, timeoutMs: number): Promise<Permission> {
  const settled = new AbortController()
  try {
    const allowed = await Promise.race([authorize(), tooLate(timeoutMs, settled.signal)])
    return allowed === true ? { kind: 'granted' } : { kind: 'refused', status: 403, detail: 'authorize() said no.' }
  } catch (error) {
    if (error instanceof CrossfadeError && (error.code === 'forbidden' || error.code === 'unauthenticated'))
      return { kind: 'refused', status: error.code === 'forbidden' ? 403 : 401, detail: error.message }
    const detail = `authorize() failed: ${error instanceof Error ? error.message : String(error)}`
    return { kind: 'unknown', status: 0, reason: 'unverified', retryAfterMs: null, detail }
  } finally {
    settled.abort()
  }
}

/** It has the same time limit as an endpoint. */
async function tooLate(timeoutMs: number, signal: AbortSignal): Promise<never> {
  await pause(timeoutMs, undefined, { signal })
  throw new Error(`it gave no answer within ${timeoutMs} ms.`)
}

/** @throws RunError when it is not granted. */
export function requireGranted(permission: Permission): void {
  if (permission.kind !== 'granted') throw new RunError(permission)
}
