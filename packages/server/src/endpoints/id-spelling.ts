import { canonicalId, type ParameterColumn } from '@crossfade/changefeed'
import type { TopicDefinition } from './definition.ts'

interface Addressed {
  readonly definition: TopicDefinition
  readonly params: Readonly<Record<string, string>>
  readonly name: string
}

/**
 * Warns in development, once per route, that a topic's name differs from the name that a change of its row produces. The database finds the row
 * 42 for `042`, but changes go to `orders/42`: a client that follows `orders/042` is never told.
 */
export class IdSpelling {
  readonly #warn: (message: string) => void
  readonly #told = new WeakSet<TopicDefinition>()

  constructor(warn: (message: string) => void) {
    this.#warn = warn
  }

  check({ definition, params, name }: Addressed): void {
    if (this.#told.has(definition)) return
    for (const rule of definition.rules) {
      for (const column of rule.parameters ?? []) {
        const problem = problemOf(column, params[column.parameter])
        if (problem === null) continue
        this.#told.add(definition)
        const { schema, name: table } = rule.table
        this.#warn(
          `The topic "${name}" may never hear of a change: :${column.parameter} is ${schema}.${table}.${column.column}, ${problem}. Redirect such requests to the canonical spelling, or give both the route and the rule params that produce it.`,
        )
        return
      }
    }
  }
}

/** @returns `null` when the id has the same spelling as in a change. */
function problemOf({ form }: ParameterColumn, id: string | undefined): string | null {
  if (id === undefined) return null
  const canonical = canonicalId(form, id)
  if (form.kind === 'loose') return `of type ${form.type}, which the database compares more loosely than text`
  return canonical === id
    ? null
    : `and a change of its row says ${JSON.stringify(canonical)} where the request says ${JSON.stringify(id)}`
}
