import { touched, type ChangeBatch, type ChangeRule, type RowChange } from '@crossfade/changefeed'
import { CrossfadeError } from '@crossfade/protocol'
import type { Append } from '../brokers/broker.ts'
import { eventText } from '../json-text.ts'
import type { TopicDefinition } from '../endpoints/definition.ts'
import { requireFitting, UnfittingRule } from '../endpoints/rule-parameters.ts'
import type { Hub } from './hub.ts'
import type { TopicRegistry } from '../endpoints/registry.ts'
import { ValueTopic, type Cause } from './value-topic.ts'

interface Route {
  readonly definition: TopicDefinition
  readonly rule: ChangeRule
  /** The rule's index in its definition: one change may cause an event by each of them. */
  readonly order: number
}

/** What a batch could not express as events. One bad row must not keep the others from their topics, and nothing is lost silently. */
class Gaps {
  readonly topics = new Set<string>()
  /** Definitions for which it is unknown which of their topics lost something. */
  readonly definitions = new Set<TopicDefinition>()
  /** Rules that failed, and the first error of each. */
  readonly failures = new Map<Route, unknown>()

  /** @param topic `null` when it is unknown. */
  record({ definition }: Route, topic: string | null): void {
    if (topic === null) this.definitions.add(definition)
    else this.topics.add(topic)
  }

  failed(route: Route, error: unknown): void {
    if (!this.failures.has(route)) this.failures.set(route, error)
  }
}

/** Turns committed changes into invalidations of value topics and events of log topics. */
export class ChangeRouter {
  readonly #hub: Hub
  readonly #registry: TopicRegistry
  readonly #maxEventBytes: number
  readonly #report: (error: unknown, context: string) => void
  #routes: Map<string, Route[]> | null = null
  /** Rules that do not fit their topics, whatever the row: each is reported once. */
  readonly #unfitting = new Set<string>()

  constructor(
    hub: Hub,
    registry: TopicRegistry,
    maxEventBytes: number,
    report: (error: unknown, context: string) => void,
  ) {
    this.#hub = hub
    this.#registry = registry
    this.#maxEventBytes = maxEventBytes
    this.#report = report
  }

  /** The tables and columns that the rules of all topics need. */
  rules(): ChangeRule[] {
    return this.#registry.all().flatMap((definition) => definition.rules)
  }

  /** Handles one batch. When this resolves, every event of the batch is in the broker, or its loss is recorded there. */
  async handle(batch: ChangeBatch): Promise<void> {
    if (batch.gap) await this.#gap(batch.gap.reason)
    const invalidated = new Map<ValueTopic, Cause>()
    const gaps = new Gaps()
    const cause: Cause = { at: batch.committedAt, from: { source: batch.source, position: batch.position } }
    for (const [index, change] of batch.changes.entries()) {
      for (const route of this.#of(change)) {
        if (route.definition.kind === 'log') await this.#append(route, change, batch, index, gaps)
        else for (const topic of this.#invalidated(route, change, gaps)) invalidated.set(topic, cause)
      }
    }
    // Once per topic, however many rows of the transaction touch it.
    for (const [topic, why] of invalidated) topic.invalidate(why)
    await this.#tell(gaps)
  }

  #of(change: RowChange): Route[] {
    this.#routes ??= this.#index()
    return (this.#routes.get(change.table) ?? []).filter((route) => route.rule.ops.includes(change.op))
  }

  #index(): Map<string, Route[]> {
    const routes = new Map<string, Route[]>()
    for (const definition of this.#registry.all()) {
      for (const [order, rule] of definition.rules.entries()) {
        const table = `${rule.table.schema}.${rule.table.name}`
        routes.set(table, [...(routes.get(table) ?? []), { definition, rule, order }])
      }
    }
    return routes
  }

  *#invalidated(route: Route, change: RowChange, gaps: Gaps): Iterable<ValueTopic> {
    const { before, after } = touchedBy(route, change, gaps)
    for (const params of [before, after]) {
      if (params === null) continue
      for (const topic of this.#hub.matching(route.definition, params)) if (topic instanceof ValueTopic) yield topic
    }
  }

  async #append(route: Route, change: RowChange, batch: ChangeBatch, index: number, gaps: Gaps): Promise<void> {
    const { definition, rule, order } = route
    if (rule.data === undefined) return rewritten(route, change, gaps)
    const row = change.after ?? change.before
    // A table was emptied: clients must read again, and no row says which topics are affected.
    if (row === null) return gaps.record(route, null)
    let topic: string | null = null
    let event: Pick<Append & { kind: 'event' }, 'data' | 'key'>
    try {
      const params = rule.params(row)
      if (params === 'all') throw unassigned(definition, change)
      requireFitting(rule, params, definition.pattern, definition.kind)
      topic = nameOf(definition, params)
      if (topic === null) return
      const data = rule.data(row)
      event = { data: eventText(topic, data, this.#maxEventBytes), ...keyOf(definition, data) }
    } catch (error) {
      gaps.failed(route, error)
      return gaps.record(route, topic)
    }
    await this.#hub.broker.append(topic, {
      kind: 'event',
      event: rule.event ?? definition.event,
      ...event,
      at: batch.committedAt,
      from: { source: batch.source, position: sourcePositionOf(batch, index, order) },
    })
  }

  /** Clients of the logs that lost something read them again (R4), and the operator learns why. */
  async #tell({ topics, definitions, failures }: Gaps): Promise<void> {
    for (const [route, error] of failures) {
      if (error instanceof UnfittingRule) {
        const reason = `${route.definition.pattern.text}\n${error.message}`
        if (this.#unfitting.has(reason)) continue
        this.#unfitting.add(reason)
      }
      const failure = ruleFailure(route, error)
      this.#report(failure, `a rule of "${route.definition.pattern.text}"`)
    }
    if (topics.size === 0 && definitions.size === 0) return
    await this.#hub.broker.reset?.('something happened that no event could express', (topic) => {
      const definition = this.#registry.resolve(topic)?.definition
      return topics.has(topic) || (definition !== undefined && definitions.has(definition))
    })
  }

  /** The source lost changes: every value in memory may be old, and every client must be told. */
  async #gap(reason: string): Promise<void> {
    await this.#hub.broker.reset?.(reason)
  }
}

/**
 * The source position of an event, of fixed width: the transaction, which arrives in parts if it is large, the change in it, and the rule, so that
 * each event has its own position in the order in which they are appended.
 */
function sourcePositionOf({ position, part }: ChangeBatch, change: number, rule: number): string {
  return `${position}.${digits(part?.index ?? 0, 6)}${digits(change, 8)}${digits(rule, 4)}`
}

function digits(value: number, width: number): string {
  return String(value).padStart(width, '0')
}

/** The topic for these parameters, or `null` when no topic can have such a name: then nobody can subscribe to it either. */
function nameOf(definition: TopicDefinition, params: Readonly<Record<string, string>>): string | null {
  try {
    return definition.pattern.expand(params)
  } catch {
    return null
  }
}

/** A list that changed in a way that events do not express: clients that have it read it again. */
function rewritten(route: Route, change: RowChange, gaps: Gaps): void {
  const { before, after } = touchedBy(route, change, gaps)
  for (const params of [before, after]) {
    const topic = params === null || params === 'all' ? null : nameOf(route.definition, params)
    if (params === 'all' || topic !== null) gaps.record(route, topic)
  }
}

/** A rule that throws, or gives parameters that fit no topic, may concern every topic. */
function touchedBy(route: Route, change: RowChange, gaps: Gaps): ReturnType<typeof touched> {
  const { definition, rule } = route
  try {
    const both = touched(rule, change)
    for (const params of [both.before, both.after]) {
      if (params !== null && params !== 'all') requireFitting(rule, params, definition.pattern, definition.kind)
    }
    return both
  } catch (error) {
    gaps.failed(route, error)
    return { before: 'all', after: null }
  }
}

function unassigned({ pattern }: TopicDefinition, { table }: RowChange): Error {
  return new Error(
    `The change does not carry the columns that "${pattern.text}" needs; set REPLICA IDENTITY FULL on ${table}.`,
  )
}

function ruleFailure({ definition, rule }: Route, cause: unknown): CrossfadeError {
  const { schema, name } = rule.table
  const why = cause instanceof Error ? cause.message : String(cause)
  const effect =
    definition.kind === 'log'
      ? 'Clients were told to read the log again; make params and data of the rule work for every row, and data JSON'
      : 'All values of the route are loaded again; make params of the rule work for every row'
  return new CrossfadeError(
    'invalid_options',
    `The rule of "${definition.pattern.text}" for ${schema}.${name} failed at a row: ${why} ${effect}. A column that the database did not send, such as a large value that did not change, is a symbol.`,
    { cause },
  )
}

/** The id in an event's data, where the definition names one. */
function keyOf(definition: TopicDefinition, value: unknown): { key?: string } {
  if (definition.key === null || typeof value !== 'object' || value === null) return {}
  const key = (value as Record<string, unknown>)[definition.key]
  return typeof key === 'string' || typeof key === 'number' || typeof key === 'bigint' ? { key: `${key}` } : {}
}
