import { touched, type ChangeBatch, type ChangeRule, type RowChange } from '@crossfade/changefeed'
import type { TopicDefinition } from './definition.ts'
import type { Hub } from './hub.ts'
import type { TopicRegistry } from './registry.ts'
import { ValueTopic, type Cause } from './value-topic.ts'

interface Route {
  readonly definition: TopicDefinition
  readonly rule: ChangeRule
  /** The rule's place in its definition: one change may make an event by each of them. */
  readonly order: number
}

/** Turns committed changes into invalidations of value topics and events of log topics. */
export class ChangeRouter {
  readonly #hub: Hub
  readonly #registry: TopicRegistry
  #routes: Map<string, Route[]> | null = null

  constructor(hub: Hub, registry: TopicRegistry) {
    this.#hub = hub
    this.#registry = registry
  }

  /** The tables and columns that the rules of all topics need. */
  rules(): ChangeRule[] {
    return this.#registry.all().flatMap((definition) => definition.rules)
  }

  /** Handles one batch. When this resolves, every event of the batch is in the broker. */
  async handle(batch: ChangeBatch): Promise<void> {
    if (batch.gap) await this.#gap(batch.gap.reason)
    const invalidated = new Map<ValueTopic, Cause>()
    const cause: Cause = { at: batch.committedAt, from: { source: batch.source, position: batch.position } }
    for (const [index, change] of batch.changes.entries()) {
      for (const route of this.#of(change)) {
        if (route.definition.kind === 'log') await this.#append(route, change, batch, index)
        else for (const topic of this.#invalidated(route, change)) invalidated.set(topic, cause)
      }
    }
    // Once per topic, however many rows of the transaction touch it.
    for (const [topic, why] of invalidated) topic.invalidate(why)
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

  *#invalidated({ definition, rule }: Route, change: RowChange): Iterable<ValueTopic> {
    const { before, after } = touched(rule, change)
    for (const params of [before, after]) {
      if (params === null) continue
      for (const topic of this.#hub.matching(definition, params)) if (topic instanceof ValueTopic) yield topic
    }
  }

  async #append(route: Route, change: RowChange, batch: ChangeBatch, index: number): Promise<void> {
    const { definition, rule } = route
    const row = change.after ?? change.before
    if (row === null || rule.data === undefined) return
    const params = rule.params(row)
    if (params === 'all') {
      // The event cannot be assigned to a topic: saying that history was lost beats dropping it silently.
      return this.#gap(
        `a change of ${change.table} does not carry the columns that "${definition.pattern.text}" needs; set REPLICA IDENTITY FULL on the table`,
      )
    }
    const topic = nameOf(definition, params)
    if (topic === null) return
    const value = rule.data(row)
    await this.#hub.broker.append(topic, {
      kind: 'event',
      event: rule.event ?? definition.event,
      data: JSON.stringify(value ?? null),
      ...keyOf(definition, value),
      at: batch.committedAt,
      from: { source: batch.source, position: positionOf(batch, index, route.order) },
    })
  }

  /** The source lost changes: whatever is held may be old, and every client must hear of it (C4). */
  async #gap(reason: string): Promise<void> {
    await this.#hub.broker.reset?.(reason)
  }
}

/**
 * Where an event comes from, of fixed width: the transaction, of which a large one comes in parts, the change in it, and the rule, as
 * each has a place of its own in the order in which events are appended.
 */
function positionOf({ position, part }: ChangeBatch, change: number, rule: number): string {
  return `${position}.${digits(part?.index ?? 0, 6)}${digits(change, 8)}${digits(rule, 4)}`
}

function digits(value: number, width: number): string {
  return String(value).padStart(width, '0')
}

/** The topic for these parameters, or `null` when no topic can have such a name: then nobody can listen to it either. */
function nameOf(definition: TopicDefinition, params: Readonly<Record<string, string>>): string | null {
  try {
    return definition.pattern.expand(params)
  } catch {
    return null
  }
}

/** The id in an event's data, where the definition names one. */
function keyOf(definition: TopicDefinition, value: unknown): { key?: string } {
  if (definition.key === null || typeof value !== 'object' || value === null) return {}
  const key = (value as Record<string, unknown>)[definition.key]
  return typeof key === 'string' || typeof key === 'number' || typeof key === 'bigint' ? { key: `${key}` } : {}
}
