import type { ChangeRule, Operation } from '@crossfade/changefeed'
import { CrossfadeError, topicPattern, type TopicKind, type TopicPattern } from '@crossfade/protocol'
import {
  anyFunction,
  isPlainObject,
  listOf,
  number,
  plainFunction,
  problemsOf,
  record,
  shown,
  text,
  type Check,
  type Checks,
} from '../configuration/check.ts'
import { nearest } from '../configuration/nearest.ts'
import type { LogTopicOptions, StandaloneLogOptions, ValueTopicOptions } from './definition.ts'
import { ruleProblems } from './rule-parameters.ts'

const operations: readonly Operation[] = ['insert', 'update', 'delete', 'truncate']

const rule: Check = (value) => {
  if (!isPlainObject(value)) return `is not a rule, but ${shown(value)}. Rules are created by changes(), inserts(), …`
  const { table, ops, params, data, event } = value
  const isTable = isPlainObject(table) && typeof table['schema'] === 'string' && typeof table['name'] === 'string'
  if (!isTable || typeof params !== 'function' || !Array.isArray(ops))
    return `is not a rule, but ${shown(value)}. Create one from a table: changes(orders, (row) => ({ id: row.id })).`
  if (ops.length === 0 || !ops.every((op) => operations.includes(op as Operation)))
    return `has ops other than ${operations.join(', ')}.`
  if (data !== undefined && typeof data !== 'function') return `has data that ${String(anyFunction(data))}`
  return event === undefined ? null : prefixed('has an event that', text(event))
}

const rules: Check = listOf(rule, '[changes(orders, (row) => ({ id: row.id }))]')

/** A field name of RFC 9110 §5.1. */
const headerName: Check = (value) =>
  typeof value === 'string' && /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(value)
    ? null
    : `must be the name of a request header, got ${shown(value)}.`

/** A JSON pointer of RFC 6901 to a part of the value. */
const pointer: Check = (value) => {
  if (typeof value === 'string' && /^(?:\/(?:[^~/]|~[01])*)+$/.test(value)) return null
  const meant = typeof value === 'string' && value !== '' ? value.replace(/^\$?\.?/, '').replaceAll('.', '/') : null
  return `must be a JSON pointer, got ${shown(value)}.${meant === null ? '' : ` Did you mean "/${meant.replace(/^\//, '')}"?`}`
}

const audience: Check = (value) => {
  if (value === 'public' || value === 'principal') return null
  if (typeof value === 'string') {
    const meant = nearest(value, ['public', 'principal'])
    return `must be "public", "principal" or { group: … }, got ${shown(value)}.${meant === null ? '' : ` Did you mean "${meant}"?`}`
  }
  if (!isPlainObject(value) || value['group'] === undefined)
    return `must be "public", "principal" or { group: … }, got ${shown(value)}.`
  return record({ group }, "{ group: ['orgId'] }")(value)
}

const group: Check = (value) => {
  if (typeof value === 'function') return plainFunction(value)
  const example = "['orgId'], or a function such as (principal) => principal.orgId"
  if (typeof value === 'string') return `must be ${example}, got ${shown(value)}. Did you mean [${shown(value)}]?`
  if (Array.isArray(value) && value.length === 0) return `must be ${example}, got an empty array.`
  return listOf(text, example)(value)
}

const refresh: Check = (value) => {
  if (typeof value === 'number') return `must be an object, got ${value}. Write refresh: { every: ${value} }.`
  const problem = record({ every: number({ from: 'above 0', unit: 'ms' }) }, '{ every: 60_000 }')(value)
  if (problem !== null) return problem
  return (value as { every?: number }).every === undefined ? 'has no every. Write refresh: { every: 60_000 }.' : null
}

const reload: Check = (value) => {
  const example = '{ after: [500, 2000] }'
  const problem = record({ after: listOf(number({ from: 'above 0', unit: 'ms' }), '[500, 2000]') }, example)(value)
  if (problem !== null) return problem
  const { after } = value as { after?: unknown[] }
  return after === undefined || after.length === 0 ? `has no after. Write reload: ${example}.` : null
}

const names = (example: string): Check => listOf(text, example)

const common = {
  feature: text,
  on: rules,
  params: plainFunction,
  query: names("['status']"),
  vary: listOf(headerName, "['accept-language']"),
  authorize: anyFunction,
}

const valueChecks: Checks<ValueTopicOptions> = {
  topic: text,
  ...common,
  audience,
  maxRate: number({ from: 'above 0', unit: 'loads a second' }),
  refresh,
  reload,
  ignore: listOf(pointer, "['/generatedAt']"),
}

const logChecks: Checks<LogTopicOptions> = {
  log: text,
  ...common,
  key: text,
  paging: names("['after', 'limit']"),
  event: text,
}

const standaloneChecks: Checks<StandaloneLogOptions> = {
  public: (value) => (value === true ? null : `must be true or absent, got ${shown(value)}.`),
  authorize: anyFunction,
  key: text,
  feature: text,
  on: rules,
  event: text,
}

/**
 * Checks a route's `config.crossfade` as far as the declaration shows, before anything is built from it.
 *
 * @throws CrossfadeError `invalid_options` that lists everything that is wrong.
 */
export function checkBlock(url: string, block: unknown): void {
  const where = `The route ${url}`
  if (!isPlainObject(block)) {
    return refuse(where, [
      `config.crossfade must be an object such as { topic: 'orders/:id' } or { log: 'rooms/:room', key: 'id' }, got ${shown(block)}.`,
    ])
  }
  const isLog = block['log'] !== undefined
  const isValue = block['topic'] !== undefined
  if (isLog === isValue) return refuse(where, [...kindProblems(block, isLog), ...eitherProblems(block)])
  const [own, other] = isLog ? [logChecks, valueChecks] : [valueChecks, logChecks]
  const foreign = Object.keys(block).filter((key) => !Object.hasOwn(own, key) && Object.hasOwn(other, key))
  const rest = Object.entries(block).filter(([key]) => !foreign.includes(key))
  const problems = [
    ...problemsOf(Object.fromEntries(rest), own),
    ...foreign.filter((key) => block[key] !== undefined).flatMap((key) => foreignProblem(key, isLog, block[key])),
  ]
  if (isLog && block['key'] === undefined)
    problems.push(
      "a log needs key: the field of an item that identifies it, such as key: 'id', by which clients drop what they have.",
    )
  refuse(where, problems)
}

/**
 * Checks the options of `app.crossfade.log()`.
 *
 * @throws CrossfadeError `invalid_options` that lists everything that is wrong.
 */
export function checkStandaloneLog(pattern: unknown, options: unknown): void {
  const where = `The log ${shown(pattern)}`
  if (!isPlainObject(options)) return refuse(where, [`needs options such as { public: true }, got ${shown(options)}.`])
  refuse(where, problemsOf(options, standaloneChecks))
}

/**
 * Parses the pattern of a topic, and checks that the rules fit it.
 *
 * @throws CrossfadeError `invalid_options`
 */
export function fittingPattern(
  where: string,
  text: string,
  kind: TopicKind,
  rules: readonly ChangeRule[],
): TopicPattern {
  let pattern: TopicPattern
  try {
    pattern = topicPattern(text)
  } catch (error) {
    throw new CrossfadeError('invalid_options', `${where}: ${(error as Error).message}`, { cause: error })
  }
  refuse(
    where,
    rules.flatMap((rule) => ruleProblems(rule, pattern, kind)),
  )
  return pattern
}

function kindProblems(block: Readonly<Record<string, unknown>>, both: boolean): string[] {
  if (both)
    return [
      `has both topic and log. Keep topic if the answer is "what is it now", log if it lists "what happened"; got ${shown(block['topic'])} and ${shown(block['log'])}.`,
    ]
  return [
    "has neither topic nor log. Give it topic: 'orders/:id' for a value, or log: 'rooms/:room' with key: 'id' for a list of events.",
  ]
}

function eitherProblems(block: Readonly<Record<string, unknown>>): string[] {
  return problemsOf(block, { ...valueChecks, ...logChecks })
}

/** A key that belongs to the other kind of topic would silently be ignored. */
function foreignProblem(key: string, isLog: boolean, value: unknown): string[] {
  if (key === 'paging') {
    const first = Array.isArray(value) ? ` "${String(value[0])}"` : ''
    return [
      `has the paging parameter${first}, but each page is a separate value. List it under query, or declare a log if the answer is a list that grows.`,
    ]
  }
  // The events of a log are the same for everybody who may read it.
  if (key === 'audience' && value === 'public') return []
  if (key === 'audience')
    return [
      'audience is for a value topic. A log may be read by those whom the endpoint answers with 2xx, or whom authorize admits. Leave it out.',
    ]
  return [
    isLog
      ? `${key} is for a value topic (topic), and this is a log. Leave it out, or declare a topic.`
      : `${key} is for a log topic (log), and this is a value topic. Leave it out, or declare a log.`,
  ]
}

function refuse(where: string, problems: readonly string[]): void {
  if (problems.length === 0) return
  const [first] = problems
  const message = problems.length === 1 ? `: ${first}` : ` has ${problems.length} mistakes:\n- ${problems.join('\n- ')}`
  throw new CrossfadeError('invalid_options', `${where}${message}`)
}

function prefixed(prefix: string, problem: string | null): string | null {
  return problem === null ? null : `${prefix} ${problem}`
}
