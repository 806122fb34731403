/**
 * The codes that travel: the `code` of a problem answer, of an `error` message and of a failed `response` (PROTOCOL §6).
 * Each has a row in `docs/errors.md`.
 */
export const wireErrorCodes = [
  'invalid_topic',
  'invalid_cursor',
  'unknown_topic',
  'unauthenticated',
  'forbidden',
  'forbidden_origin',
  'too_many_topics',
  'too_fast',
  'too_large',
  'malformed',
  'unsupported_version',
  'token_expiring',
  'id_reused',
  'outcome_unknown',
  'overloaded',
  'server_error',
  'unknown_method',
  'unknown_feature',
] as const

/** Codes of a set-up that cannot work: wrong options, or a database that the feed cannot follow. */
export const setupErrorCodes = [
  'invalid_options',
  'feed_unavailable',
  'feed_not_logical',
  'feed_forbidden',
  'feed_slot_in_use',
  'feed_slot_foreign',
  'feed_slot_lost',
  'feed_table_missing',
  'feed_column_missing',
  'feed_replica_identity',
  'feed_stopped',
  'route_conflict',
  'not_ready',
] as const

/** Codes that arise in the client and never travel. */
export const clientErrorCodes = [
  'patch_failed',
  'client_closed',
  'transport_failed',
  'timeout',
  'offline',
  'endpoint_failed',
] as const

/** A code that a server tells a client. */
export type WireErrorCode = (typeof wireErrorCodes)[number]

/** A code that a developer or operator meets when things are set up. */
export type SetupErrorCode = (typeof setupErrorCodes)[number]

/** A code that a client meets by itself. */
export type ClientErrorCode = (typeof clientErrorCodes)[number]

/** Every code that a `CrossfadeError` may carry. */
export type ErrorCode = WireErrorCode | SetupErrorCode | ClientErrorCode

const httpStatuses: Partial<Readonly<Record<ErrorCode, number>>> = {
  invalid_topic: 400,
  invalid_cursor: 400,
  too_many_topics: 400,
  malformed: 400,
  unsupported_version: 400,
  unauthenticated: 401,
  token_expiring: 401,
  forbidden: 403,
  forbidden_origin: 403,
  unknown_topic: 404,
  unknown_method: 404,
  unknown_feature: 404,
  id_reused: 409,
  outcome_unknown: 409,
  too_large: 413,
  too_fast: 429,
  overloaded: 503,
  not_ready: 503,
}

/**
 * The HTTP status that goes with a code (PROTOCOL §6).
 *
 * @returns 500 for codes that say that the server itself failed.
 */
export const httpStatusOf = (code: ErrorCode): number => httpStatuses[code] ?? 500
