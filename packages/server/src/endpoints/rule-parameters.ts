import type { ChangeRule } from '@crossfade/changefeed'
import type { TopicKind, TopicPattern } from '@crossfade/protocol'
import { isPlainObject } from '../configuration/check.ts'
import { suggestion } from '../configuration/nearest.ts'

/** What is wrong with the parameters that a rule gives, as far as that is known before the first row. */
export function ruleProblems(rule: ChangeRule, pattern: TopicPattern, kind: TopicKind): string[] {
  const names = namesOf(rule)
  return names === null ? [] : parameterProblems(rule, names, pattern, kind)
}

/** A rule gave parameters that its topic does not have, or too few of them, which could not be known before there was a row. */
export class UnfittingRule extends Error {}

/** @throws UnfittingRule when the parameters that a rule gave for a row do not fit the topic. */
export function requireFitting(
  rule: ChangeRule,
  params: Readonly<Record<string, string>>,
  pattern: TopicPattern,
  kind: TopicKind,
): void {
  const names = Object.keys(params)
  if (names.length === pattern.params.length && names.every((name) => pattern.params.includes(name))) return
  const [problem] = parameterProblems(rule, names, pattern, kind)
  if (problem !== undefined) throw new UnfittingRule(problem)
}

/**
 * What is wrong with parameters of these names. A log topic needs all of its parameters, as an event belongs to one topic. For a value topic fewer
 * are enough: all topics that match them load again.
 */
function parameterProblems(
  rule: ChangeRule,
  names: readonly string[],
  pattern: TopicPattern,
  kind: TopicKind,
): string[] {
  const table = tableOf(rule)
  const foreign = names
    .filter((name) => !pattern.params.includes(name))
    .map((name) =>
      pattern.params.length === 0
        ? `The rule for ${table} gives the parameter "${name}", and the topic "${pattern.text}" has none. Leave it out, or add :${name} to the topic.`
        : `The rule for ${table} gives the parameter "${name}", which the topic "${pattern.text}" does not have. ${suggestion(name, pattern.params)}`,
    )
  const missing = kind === 'log' ? missingOf(names, pattern) : []
  return [
    ...foreign,
    ...missing.map(
      (name) =>
        `The rule for ${table} gives no "${name}", which the log "${pattern.text}" needs: its events would belong to no topic. Give it (row) => ({ ${name}: … }).`,
    ),
  ]
}

/**
 * Why a rule's `params` throws whatever the row, as it does when it throws before it reads a column; `null` if that is not known.
 */
export function brokenRule(rule: ChangeRule): string | null {
  let hasRead = false
  const row = new Proxy({}, { get: () => ((hasRead = true), '') })
  try {
    rule.params(row)
    return null
  } catch (error) {
    if (hasRead) return null
    return `params of the rule for ${tableOf(rule)} throws for every row: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** What it means that a rule gives fewer parameters than its value topic has; `null` when it gives all, or when that is not known yet. */
export function coarseRule(rule: ChangeRule, pattern: TopicPattern): string | null {
  const names = namesOf(rule)
  const missing = names === null ? [] : missingOf(names, pattern)
  if (missing.length === 0) return null
  const which = names?.length === 0 ? 'every live topic' : 'every live topic with the same other parameters'
  return `each change of ${tableOf(rule)} loads ${which} of "${pattern.text}" again, because its rule gives no "${missing.join('", "')}"`
}

function missingOf(names: readonly string[], { params }: TopicPattern): string[] {
  return params.filter((name) => !names.includes(name))
}

function tableOf({ table }: ChangeRule): string {
  return `${table.schema}.${table.name}`
}

/** A rule that does not name its parameters is run on a row of empty strings. One that fails on it is judged with the first real row. */
function namesOf(rule: ChangeRule): readonly string[] | null {
  if (rule.names !== undefined) return rule.names
  try {
    const given: unknown = rule.params(
      new Proxy({}, { get: (_, column) => (typeof column === 'string' ? '' : undefined) }),
    )
    return isPlainObject(given) ? Object.keys(given) : null
  } catch {
    return null
  }
}
