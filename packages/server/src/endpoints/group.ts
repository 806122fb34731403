import { CrossfadeError } from '@crossfade/protocol'
import { shown } from '../configuration/check.ts'
import { suggestion } from '../configuration/nearest.ts'
import type { Principal } from '../identity/principal.ts'
import type { Group, TopicDefinition } from './definition.ts'
import { looksMissing } from '../configuration/missing-value.ts'

/** A principal is not in a group that could share an answer. `message` is for the client, `detail` for the log. */
export class UnusableGroup extends CrossfadeError {
  readonly definition: TopicDefinition
  readonly detail: string

  constructor(definition: TopicDefinition, topic: string, detail: string, cause?: unknown) {
    super('forbidden', `The topic "${topic}" is not yours to read, or does not exist.`, { cause })
    this.definition = definition
    this.detail = detail
  }
}

/**
 * The key of a principal's group, unique to that group: two tenants that shared one by mistake would read each other's data.
 *
 * @throws UnusableGroup when a claim is missing, or the name was built from a missing one.
 */
export function groupKey(definition: TopicDefinition, group: Group, topic: string, principal: Principal): string {
  if (typeof group === 'function') return JSON.stringify(nameOf(definition, group, topic, principal))
  // As JSON, so that ['a', 'b,c'] and ['a,b', 'c'] are two.
  return JSON.stringify(group.map((claim) => claimOf(definition, claim, topic, principal)))
}

function nameOf(
  definition: TopicDefinition,
  group: Exclude<Group, readonly unknown[]>,
  topic: string,
  principal: Principal,
): string {
  let name: unknown
  try {
    name = group(principal)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new UnusableGroup(definition, topic, `audience.group threw: ${why} ${claimsOf(principal)}`, error)
  }
  if (isUsable(name)) return String(name)
  const advice = 'A group must be a non-empty string or a number, and built from claims that the principal has.'
  throw new UnusableGroup(definition, topic, `audience.group gave ${shown(name)}. ${advice} ${claimsOf(principal)}`)
}

function claimOf(
  definition: TopicDefinition,
  claim: string,
  topic: string,
  principal: Principal,
): string | number | boolean {
  const claims = principal as Readonly<Record<string, unknown>>
  const value = Object.hasOwn(claims, claim) ? claims[claim] : undefined
  if (typeof value === 'boolean') return value
  if (isUsable(value)) return typeof value === 'number' ? value : String(value)
  const is = value === undefined ? 'is missing' : `is ${shown(value)}, which cannot name a group`
  const near = value === undefined ? ` ${suggestion(claim, Object.keys(claims))}` : ''
  throw new UnusableGroup(
    definition,
    topic,
    `the claim "${claim}" of audience.group ${is}.${near} Let authenticate give it as a string, a number or a boolean. ${claimsOf(principal)}`,
  )
}

function isUsable(value: unknown): value is string | number | bigint {
  if (typeof value === 'string') return value.trim() !== '' && !looksMissing(value)
  return typeof value === 'bigint' || (typeof value === 'number' && Number.isFinite(value))
}

/** Names only: values may be secret. */
function claimsOf(principal: Principal): string {
  return `This principal has ${Object.keys(principal).join(', ')}.`
}
