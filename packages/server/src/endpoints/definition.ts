import type { ChangeRule } from '@crossfade/changefeed'
import { CrossfadeError, type TopicKind, type TopicPattern } from '@crossfade/protocol'
import type { FastifyRequest, RouteOptions as FastifyRouteOptions } from 'fastify'
import type { ClaimName, Principal } from '../identity/principal.ts'
import { checkBlock, checkStandaloneLog, fittingPattern } from './block-checks.ts'
import { runHeadersOf } from './run-headers.ts'

/** Who shares a topic's answer (DESIGN §3.2): everybody, one principal, or the members of a group. */
export type Audience = 'public' | 'principal' | { readonly group: Group }

/**
 * Which group a principal belongs to: the claims that the members of a group have in common, such as `['orgId', 'role']`, or a function that gives
 * the group's name. A principal that lacks one of the claims, or whose group's name is not a string or a finite number, is empty, or was
 * built from a missing claim (`"undefined"`, `"null"`, `"NaN"`, `"[object Object]"`), shares nothing and gets no push; the log says why.
 */
export type Group = readonly ClaimName[] | ((principal: Principal) => string | number)

/** What value and log topics have in common. */
export interface TopicOptions {
  /** Name of the feature that is rolled out. Default: the topic pattern. */
  feature?: string
  /** Which changes of the database touch the topic. Rules come from `@crossfade/changefeed/drizzle`. */
  on?: readonly ChangeRule[]
  /** Topic parameters of a request, where they are not its path parameters. Runs after the application's own hooks. */
  params?: (request: FastifyRequest) => Readonly<Record<string, string | number>>
  /** Query parameters that are part of the topic's name. A request with any other parameter is not for this topic (R10). */
  query?: readonly string[]
  /** Request headers, lower-case, on which the answer depends besides the credentials, such as `accept-language`. */
  vary?: readonly string[]
  /** Who may subscribe. Default: those whom the endpoint itself answers with 2xx (R14). */
  authorize?: (context: {
    principal: Principal | null
    params: Readonly<Record<string, string>>
    topic: string
  }) => boolean | Promise<boolean>
}

/** A route whose answer is a value topic: "what is it now". */
export interface ValueTopicOptions extends TopicOptions {
  /** The topic's name, with `:params`, such as `orders/:id`. */
  topic: string
  /** Default `principal`: nobody shares an answer unless the route says so. */
  audience?: Audience
  /** At most this many loads per second. Default: no limit. */
  maxRate?: number
  /** Also reload on this interval while someone listens, ms: for effects outside the database. */
  refresh?: { every: number }
  /**
   * Load again after each of these delays from a change, ms: `{ after: [500, 2000] }` for a handler that reads from a replica or a
   * cache that lags behind the database. Default: one load, immediately.
   */
  reload?: { after: readonly number[] }
  /** JSON pointers that do not count when values are compared, such as `/generatedAt`. */
  ignore?: readonly string[]
}

/** A route whose answer lists a log topic: "what happened". */
export interface LogTopicOptions extends TopicOptions {
  /** The topic's name, with `:params`, such as `rooms/:room/messages`. */
  log: string
  /** The field of an event's data that identifies the item, by which a client drops what a REST answer already gave it. */
  key: string
  /** Query parameters that page through the list: the answer keeps its header, and they are not part of the topic's name (R10). */
  paging?: readonly string[]
  /** Name of the events. Default `event`; a rule's own `event` takes precedence. */
  event?: string
}

/** The `config.crossfade` of a route. */
export type RouteOptions = ValueTopicOptions | LogTopicOptions

/** A log topic that no endpoint lists, declared by `app.crossfade.log()`. */
export interface StandaloneLogOptions {
  /** Anybody may subscribe. Without it, `authorize` is required. */
  public?: true
  authorize?: NonNullable<TopicOptions['authorize']>
  /** The field of an event's data that identifies the item. */
  key?: string
  feature?: string
  on?: readonly ChangeRule[]
  event?: string
}

/** Everything that the server knows about the topics of one pattern. */
export interface TopicDefinition {
  readonly kind: TopicKind
  readonly pattern: TopicPattern
  readonly feature: string
  readonly audience: Audience
  readonly rules: readonly ChangeRule[]
  readonly vary: readonly string[]
  readonly query: ReadonlySet<string>
  readonly paging: ReadonlySet<string>
  /** The endpoint's URL with `:params`, or `null` when no endpoint is wrapped. */
  readonly url: string | null
  readonly params: TopicOptions['params'] | null
  readonly authorize: TopicOptions['authorize'] | null
  readonly isPublicLog: boolean
  readonly key: string | null
  readonly event: string
  readonly minLoadMs: number
  readonly refreshMs: number | null
  readonly ignore: readonly string[]
  /** When a value is loaded again after a change, ms. */
  readonly reloadAfterMs: readonly number[]
  /** What a run must carry to reach the route: its host, its version. */
  readonly runHeaders: Readonly<Record<string, string>>
}

/**
 * Reads a route's `config.crossfade`.
 *
 * @param url the route's URL with its prefix.
 * @param constraints of the route: a run must meet them.
 * @throws CrossfadeError `invalid_options` when a key is unknown or has a wrong value, or the parameters of the topic, its rules and the
 *   URL do not fit each other.
 */
export function routeDefinition(
  url: string,
  options: RouteOptions,
  constraints?: FastifyRouteOptions['constraints'],
): TopicDefinition {
  checkBlock(url, options)
  const kind = isLog(options) ? 'log' : 'value'
  const text = isLog(options) ? options.log : options.topic
  const pattern = fittingPattern(`The route ${url}`, text, kind, options.on ?? [])
  requireInvertible(url, pattern, options)
  requirePlainLog(url, options)
  return {
    ...shared(pattern, options),
    kind,
    audience: isLog(options) ? 'public' : (options.audience ?? 'principal'),
    url,
    params: options.params ?? null,
    query: new Set(options.query),
    paging: new Set(isLog(options) ? options.paging : []),
    vary: (options.vary ?? []).map((name) => name.toLowerCase()),
    authorize: options.authorize ?? null,
    isPublicLog: false,
    runHeaders: runHeadersOf(constraints),
    ...(isLog(options)
      ? {
          key: options.key,
          event: options.event ?? 'event',
          minLoadMs: 0,
          refreshMs: null,
          ignore: [],
          reloadAfterMs: [],
        }
      : {
          key: null,
          event: 'event',
          minLoadMs: options.maxRate === undefined ? 0 : 1000 / options.maxRate,
          refreshMs: options.refresh?.every ?? null,
          ignore: options.ignore ?? [],
          reloadAfterMs: options.reload?.after ?? [],
        }),
  }
}

/** @throws CrossfadeError `invalid_options` when it is not declared who may subscribe (DESIGN §3.2), or an option is unknown or wrong. */
export function standaloneLogDefinition(text: string, options: StandaloneLogOptions): TopicDefinition {
  checkStandaloneLog(text, options)
  if (options.public !== true && options.authorize === undefined) {
    throw new CrossfadeError(
      'invalid_options',
      `The log topic "${text}" has no endpoint that could say who may subscribe. Give it authorize: ({ principal, params }) => boolean, or public: true.`,
    )
  }
  const pattern = fittingPattern(`The log "${text}"`, text, 'log', options.on ?? [])
  return {
    ...shared(pattern, options),
    kind: 'log',
    audience: 'public',
    url: null,
    params: null,
    query: new Set(),
    paging: new Set(),
    vary: [],
    authorize: options.authorize ?? null,
    isPublicLog: options.public === true,
    key: options.key ?? null,
    event: options.event ?? 'event',
    minLoadMs: 0,
    refreshMs: null,
    ignore: [],
    reloadAfterMs: [],
    runHeaders: {},
  }
}

function shared(
  pattern: TopicPattern,
  options: { feature?: string; on?: readonly ChangeRule[] },
): Pick<TopicDefinition, 'pattern' | 'feature' | 'rules'> {
  return { pattern, feature: options.feature ?? pattern.text, rules: options.on ?? [] }
}

/** A key that is `undefined` is absent. */
function isLog(options: RouteOptions): options is LogTopicOptions {
  return (options as Partial<LogTopicOptions>).log !== undefined
}

/** The topic must be computable from a request, and the request from the topic. */
function requireInvertible(url: string, pattern: TopicPattern, options: RouteOptions): void {
  const inUrl = urlParams(url)
  const foreign = inUrl.filter((name) => !pattern.params.includes(name))
  if (foreign.length > 0) {
    throw new CrossfadeError(
      'invalid_options',
      `The route ${url} has the parameter :${foreign[0]}, which its topic "${pattern.text}" lacks, so the topic would mix different answers. Add it to the topic.`,
    )
  }
  const missing = pattern.params.filter((name) => !inUrl.includes(name))
  if (missing.length > 0 && options.params === undefined) {
    throw new CrossfadeError(
      'invalid_options',
      `The topic "${pattern.text}" has the parameter :${missing[0]}, which the route ${url} lacks. Give the route params: (request) => ({ ${missing[0]}: … }).`,
    )
  }
}

/** Events go to a log by its path alone: a query part would name a log to which nothing is ever appended. */
function requirePlainLog(url: string, options: RouteOptions): void {
  const first = options.query?.[0]
  if (!isLog(options) || first === undefined) return
  throw new CrossfadeError(
    'invalid_options',
    `The log topic of ${url} has the query parameter "${first}" in its name, but events are assigned by the path only. List it under paging, or make it a :parameter.`,
  )
}

function urlParams(url: string): string[] {
  if (/[*()]|:[^/]*[?:-][^/]*/.test(url)) {
    throw new CrossfadeError(
      'invalid_options',
      `The route ${url} has a wildcard, optional or composed parameter; a wrapped route takes plain /:name segments only.`,
    )
  }
  return [...url.matchAll(/:([A-Za-z0-9_]+)/g)].map((match) => match[1] as string)
}
