import { CrossfadeError, topicName } from '@crossfade/protocol'
import type { FastifyRequest } from 'fastify'
import { isPlainObject, shown } from '../configuration/check.ts'
import type { TopicDefinition } from './definition.ts'
import { looksMissing } from '../configuration/missing-value.ts'
import type { Skipped } from './skips.ts'

/** The topic's name for a request. */
export interface RequestTopic {
  readonly name: string
  /** A parameter that the route's `params` gave and the topic does not have. */
  readonly foreign: string | null
}

/** The topic's name for a request, or why the request is not for a topic (R10). */
export function topicOfRequest(definition: TopicDefinition, request: FastifyRequest): RequestTopic | Skipped {
  const query: Record<string, string> = {}
  for (const [name, value] of Object.entries((request.query ?? {}) as Record<string, unknown>)) {
    if (definition.paging.has(name)) continue
    if (!definition.query.has(name)) return { skipped: `undeclared query parameter ${quoted(name)}` }
    // Two objects would have the same text, and their requests would share an answer.
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean')
      return { skipped: `query parameter ${quoted(name)} is not a single value` }
    query[name] = String(value)
  }
  const params = parametersOf(definition, request)
  if ('skipped' in params) return params
  try {
    return { name: topicName(definition.pattern.expand(params.values), query), foreign: params.foreign }
  } catch (error) {
    if (!(error instanceof CrossfadeError)) throw error
    return { skipped: 'the name of this request is not valid for a topic', detail: error.message }
  }
}

/** The parameters of the topic, each a non-empty string. */
function parametersOf(
  definition: TopicDefinition,
  request: FastifyRequest,
): { values: Readonly<Record<string, string>>; foreign: string | null } | Skipped {
  const inUrl = request.params as Readonly<Record<string, unknown>>
  let given: unknown
  try {
    given = definition.params ? definition.params(request) : {}
  } catch (error) {
    return { skipped: 'params threw', detail: error instanceof Error ? error.message : String(error), isMistake: true }
  }
  if (given instanceof Promise) given.catch(() => {})
  if (!isPlainObject(given) || given instanceof Promise)
    return { skipped: 'params did not give an object', detail: `it gave ${shown(given)}`, isMistake: true }
  const values: Record<string, string> = {}
  for (const name of definition.pattern.params) {
    const isGiven = Object.hasOwn(given, name)
    const value = isGiven ? given[name] : inUrl[name]
    if (value === undefined && !isGiven) return missing(name, Object.keys(given))
    if (value === '') return { skipped: `parameter ${quoted(name)} is empty` }
    if (!isText(value) || (isGiven && looksMissing(String(value))))
      return {
        skipped: `parameter ${quoted(name)} is not a name`,
        detail: `params gave ${shown(value)}`,
        isMistake: true,
      }
    values[name] = String(value)
  }
  const foreign = Object.keys(given).find((name) => !definition.pattern.params.includes(name)) ?? null
  return { values, foreign }
}

function missing(name: string, given: readonly string[]): Skipped {
  const detail = given.length === 0 ? 'it gave an empty object' : `it gave ${given.join(', ')}`
  return { skipped: `params gave no ${quoted(name)}`, detail, isMistake: true }
}

function isText(value: unknown): value is string | number | bigint {
  return typeof value === 'string' || typeof value === 'bigint' || (typeof value === 'number' && Number.isFinite(value))
}

/** A name that may come from a client. */
function quoted(name: string): string {
  return JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name)
}
