import type { InferSelectModel, Table } from 'drizzle-orm'
import type { Operation, Row } from '../change.ts'
import type { ChangeRule, ParameterColumn, TopicParams } from '../rule.ts'
import { examine, routingRows, UnsentColumn, type RoutingRows, type TopicFunction } from './routing-row.ts'
import { describeTable, typedRow, type Casing } from './table.ts'

/** Topic parameters of a row. It must do nothing but read the row: it is run once on an empty one to see which columns it needs. */
export type ParamsOf<T extends Table, Name extends string = string> = (
  row: InferSelectModel<T>,
) => Readonly<Record<Name, string | number>>

/** Options of a rule. */
export interface RuleOptions<T extends Table> {
  /** Name of the event on a log topic. Default: the route's. */
  event?: string
  /**
   * Log topics: the event's data, as the endpoint lists the item. It must be JSON. Default: the row, with each bigint as a string, and
   * without the columns that the database did not send.
   */
  data?: (row: InferSelectModel<T>) => unknown
  /**
   * `false`: the columns that `params` reads never change once a row is there, as the customer of an order. Then REPLICA IDENTITY FULL is
   * not needed for them; a primary key suffices. A deleted row does not carry them, so a deletion reloads every live topic of the route.
   * Default `true`: a row that moves reaches the topic that it leaves and the one that it enters.
   */
  moves?: boolean
  /** The `casing` that `drizzle()` is given, for columns that the table's definition does not name. Default: the key is the name. */
  casing?: Casing
}

/**
 * Any change of a table: inserts, updates, deletes and truncation.
 *
 * @param params the topic's parameters of a row. Default: none, as for a topic without parameters. A log topic needs all of its
 *   parameters. A value topic may get fewer: every topic that has these loads again, as all orders of a shop whose name changes.
 * @throws CrossfadeError `invalid_options` when `table` is not a Drizzle table.
 */
export function changes<T extends Table, Name extends string = never>(
  table: T,
  params?: ParamsOf<T, Name>,
  options?: RuleOptions<T>,
): ChangeRule<NoInfer<Name>> {
  return ruleOf(table, ['insert', 'update', 'delete', 'truncate'], params, options)
}

/** New rows of a table; otherwise as `changes`. */
export function inserts<T extends Table, Name extends string = never>(
  table: T,
  params?: ParamsOf<T, Name>,
  options?: RuleOptions<T>,
): ChangeRule<NoInfer<Name>> {
  return ruleOf(table, ['insert'], params, options)
}

/** Changed rows of a table; otherwise as `changes`. */
export function updates<T extends Table, Name extends string = never>(
  table: T,
  params?: ParamsOf<T, Name>,
  options?: RuleOptions<T>,
): ChangeRule<NoInfer<Name>> {
  return ruleOf(table, ['update'], params, options)
}

/** Deleted rows of a table; otherwise as `changes`. */
export function deletes<T extends Table, Name extends string = never>(
  table: T,
  params?: ParamsOf<T, Name>,
  options?: RuleOptions<T>,
): ChangeRule<NoInfer<Name>> {
  return ruleOf(table, ['delete'], params, options)
}

/**
 * For a log topic: rows that are edited, deleted or moved, which no event can express. Its clients read the endpoint again, all at
 * once, so this is for changes that are rare.
 *
 * @param params as for `changes`. A row that moves reaches the topic that it leaves and the one that it enters.
 * @throws CrossfadeError `invalid_options` when `table` is not a Drizzle table.
 */
export function rewrites<T extends Table, Name extends string = never>(
  table: T,
  params?: ParamsOf<T, Name>,
  options: Pick<RuleOptions<T>, 'casing' | 'moves'> = {},
): ChangeRule<NoInfer<Name>> {
  return routing(table, ['update', 'delete', 'truncate'], params, options)
}

const noParams = (): object => ({})

type Params = (row: object) => Readonly<Record<string, string | number>>

function ruleOf<T extends Table, Name extends string>(
  table: T,
  ops: readonly Operation[],
  params?: ParamsOf<T, Name>,
  options: RuleOptions<T> = {},
): ChangeRule<Name> {
  const description = describeTable(table, options.casing)
  const data = options.data ?? rowAsJson
  return {
    ...routing(table, ops, params, options),
    ...(options.event === undefined ? {} : { event: options.event }),
    data: (row) => data(typedRow(description, row) as InferSelectModel<T>),
  }
}

/** Which changes touch which topics, without the event's data. */
function routing<T extends Table, Name extends string>(
  table: T,
  ops: readonly Operation[],
  paramsOfRow?: ParamsOf<T, Name>,
  options: Pick<RuleOptions<T>, 'casing' | 'moves'> = {},
): ChangeRule<Name> {
  const description = describeTable(table, options.casing)
  const params = (paramsOfRow ?? noParams) as unknown as Params
  const { columns, names, passedOn } = examine(description, params)
  const rows = routingRows(description)
  const { moves = true } = options
  // A new row has no image before it.
  const needsOldRow = moves && ops.some((op) => op === 'update' || op === 'delete')
  return {
    table: {
      schema: description.schema,
      name: description.name,
      columns: description.columns.map((column) => column.name),
      routing: needsOldRow ? columns : [],
    },
    ops,
    moves,
    parameters: looseParameters(passedOn),
    ...(names === null ? {} : { names: names as Name[] }),
    params: (row) => topicParams(params, rows, row),
  }
}

/** Parameters for which one row has several names. */
function looseParameters(passedOn: TopicFunction['passedOn']): ParameterColumn[] {
  return [...passedOn].flatMap(([parameter, { name, idForm }]) =>
    idForm === null ? [] : [{ parameter, column: name, form: idForm }],
  )
}

/** JSON has no bigint, and a number would lose digits. */
function rowAsJson(row: object): unknown {
  return Object.fromEntries(Object.entries(row).map(([key, value]) => [key, withoutBigint(value)]))
}

function withoutBigint(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutBigint)
  return typeof value === 'bigint' ? String(value) : value
}

/** Where a column that the function needs was not sent, the change concerns every topic: none may be missed. */
function topicParams(params: Params, rows: RoutingRows, row: Row): TopicParams {
  try {
    return Object.fromEntries(Object.entries(params(rows(row))).map(([name, value]) => [name, String(value)]))
  } catch (error) {
    if (error instanceof UnsentColumn) return 'all'
    throw error
  }
}
