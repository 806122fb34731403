import type { ChangeRule } from '@crossfade/changefeed'
import type { FastifyRequest } from 'fastify'
import type { LogTopicOptions, ValueTopicOptions } from './definition.ts'

/** Names of the parameters of a topic pattern: `'orgs/:org/orders/:id'` has `'org' | 'id'`. */
export type PatternParams<Pattern extends string> = string extends Pattern
  ? string
  : Pattern extends `${infer Segment}/${infer Rest}`
    ? PatternParams<Segment> | PatternParams<Rest>
    : Pattern extends `:${infer Name}`
      ? Name
      : never

/** What the compiler shows for a value that does not fit. */
export interface Misfit<Text extends string> {
  readonly misfit: Text
}

/** The rule itself, or what is wrong with its parameters. A rule whose type does not name its parameters is checked at start. */
type FittingRule<Rule, Params extends string, Needed extends string> =
  Rule extends ChangeRule<infer Name>
    ? string extends Name
      ? Rule
      : [Exclude<Name, Params>] extends [never]
        ? [Exclude<Needed, Name>] extends [never]
          ? Rule
          : Misfit<`The rule gives no "${Exclude<Needed, Name>}".`>
        : Misfit<`The rule gives "${Exclude<Name, Params>}", which the topic does not have.`>
    : ChangeRule

type FittingRules<Rules extends readonly unknown[], Params extends string, Needed extends string> = {
  readonly [Index in keyof Rules]: FittingRule<Rules[Index], Params, Needed>
}

/** Parameters of a request, all of which the topic has. */
type FittingParams<Name extends string, Params extends string> = [Exclude<Name, Params>] extends [never]
  ? (request: FastifyRequest) => Readonly<Record<Name, string | number>>
  : Misfit<`params gives "${Exclude<Name, Params>}", which the topic does not have.`>

/**
 * Declares a value topic for `config.crossfade`, and lets the compiler check the parameters of rules and of `params` against those of the
 * pattern:
 *
 * ```ts
 * app.get('/api/orders/:id', {
 *   config: { crossfade: value('orders/:id', { audience: 'public', on: [changes(orders, (row) => ({ id: row.id }))] }) },
 * }, handler)
 * ```
 *
 * @param topic the topic's name, with `:params`.
 * @param options everything but the name. The server checks them when it starts.
 */
export function value<
  const Pattern extends string,
  const Rules extends readonly unknown[],
  Name extends string = never,
>(
  topic: Pattern,
  options: Omit<ValueTopicOptions, 'topic' | 'on' | 'params'> & {
    on?: Rules & FittingRules<Rules, PatternParams<Pattern>, never>
    params?: ((request: FastifyRequest) => Readonly<Record<Name, string | number>>) &
      FittingParams<Name, PatternParams<Pattern>>
  } = {},
): ValueTopicOptions {
  return { ...options, topic }
}

/**
 * Declares a log topic for `config.crossfade`; otherwise as {@link value}. A rule must give all parameters of the pattern.
 *
 * @param log the topic's name, with `:params`.
 * @param options everything but the name.
 */
export function log<const Pattern extends string, const Rules extends readonly unknown[], Name extends string = never>(
  log: Pattern,
  options: Omit<LogTopicOptions, 'log' | 'on' | 'params'> & {
    on?: Rules & FittingRules<Rules, PatternParams<Pattern>, PatternParams<Pattern>>
    params?: ((request: FastifyRequest) => Readonly<Record<Name, string | number>>) &
      FittingParams<Name, PatternParams<Pattern>>
  },
): LogTopicOptions {
  return { ...options, log }
}
