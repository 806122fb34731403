import { CrossfadeError, httpStatusOf, type ErrorCode, type Problem } from '@crossfade/protocol'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'

/** Fastify refuses names that could reach the prototype of an object with the same error as malformed JSON. */
const notJson = 'The body is not JSON, or has a member "__proto__" or "constructor.prototype". Send plain JSON.'

/** Fastify's own refusals of a body, in the terms of PROTOCOL §6. */
const fastifyCodes: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['too_large', 'The body is too large. Send fewer topics in one request.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    'malformed',
    'The body must be JSON: send it with "Content-Type: application/json".',
  ],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['malformed', 'The body is empty. Send a JSON object.'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['malformed', notJson],
}

/** Refusals by the application's own hooks under `{base}`, such as its rate limit or its login, in the same terms. */
const codesOfStatus: Readonly<Record<number, ErrorCode>> = {
  401: 'unauthenticated',
  403: 'forbidden',
  408: 'overloaded',
  413: 'too_large',
  425: 'overloaded',
  429: 'too_fast',
  502: 'overloaded',
  503: 'overloaded',
  504: 'overloaded',
}

/** Answers an error as RFC 9457 `application/problem+json` with a `code` (PROTOCOL §6). */
export function sendProblem(
  error: FastifyError | CrossfadeError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const [code, detail] = explain(error)
  const status = httpStatusOf(code)
  // An overload is told to each client, but not logged each time.
  if (status === 500) request.log.error(error)
  const retryAfter = reply.getHeader('retry-after')
  void reply.code(status).headers(problemHeaders(code))
  // A hook of the application may have set `Retry-After` itself.
  if (retryAfter !== undefined) void reply.header('retry-after', retryAfter)
  return reply.send(problemText(code, detail))
}

export function problemHeaders(code: ErrorCode): Record<string, string> {
  const status = httpStatusOf(code)
  return {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
    ...(status === 429 || status === 503 ? { 'retry-after': '1' } : {}),
  }
}

export function problemText(code: ErrorCode, detail: string): string {
  const problem: Problem = {
    type: 'about:blank',
    title: code.replaceAll('_', ' '),
    status: httpStatusOf(code),
    code,
    detail,
  }
  return JSON.stringify(problem)
}

function explain(error: FastifyError | CrossfadeError): readonly [ErrorCode, string] {
  if (error instanceof CrossfadeError) return [error.code, error.message]
  const known = fastifyCodes[error.code]
  if (known) return known
  if (error instanceof SyntaxError) return ['malformed', notJson]
  const { statusCode = 500 } = error
  const code = codesOfStatus[statusCode]
  if (code !== undefined) return [code, error.message]
  if (statusCode >= 400 && statusCode < 500) return ['malformed', error.message]
  return ['server_error', 'The server failed. Try again later.']
}
