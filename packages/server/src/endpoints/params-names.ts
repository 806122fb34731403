import type { FastifyRequest } from 'fastify'
import { isPlainObject, shown } from '../configuration/check.ts'
import { suggestion } from '../configuration/nearest.ts'
import type { TopicDefinition } from './definition.ts'

/** A function that never ends on the stand-in, such as in a list that has no end, is stopped. */
const maxReads = 1_000

/** A stand-in for any request: every member is the stand-in itself, can be called, and reads as empty text. */
function anyRequest(): object {
  let reads = 0
  const count = (): void => {
    if ((reads += 1) > maxReads) throw new Error('this is not a real request')
  }
  const standIn: object = new Proxy(() => {}, {
    get(_, name) {
      count()
      return name === Symbol.toPrimitive ? () => '' : standIn
    },
    apply() {
      count()
      return standIn
    },
    construct: () => standIn,
  })
  return standIn
}

/**
 * Finds the names that a route's `params` gives and its topic does not have, by running it on a stand-in for a request.
 *
 * @returns what is wrong, or `null`. A name that is missing, or a function that throws, may be fine with a real request.
 */
export function paramsProblem({ params, pattern }: TopicDefinition): string | null {
  if (!params) return null
  const standIn = anyRequest()
  let given: unknown
  try {
    given = params(standIn as FastifyRequest)
  } catch {
    return null
  }
  if (given instanceof Promise) given.catch(() => {})
  if (given === standIn || given === null || given === undefined) return null
  if (!isPlainObject(given) || given instanceof Promise)
    return `params gives ${shown(given)}. It must give the topic's parameters as an object, such as (request) => ({ id: … }).`
  const foreign = Object.keys(given).find((name) => !pattern.params.includes(name))
  if (foreign === undefined) return null
  return `params gives "${foreign}", which the topic "${pattern.text}" does not have. ${suggestion(foreign, pattern.params)}`
}
