import { parseCursor } from './cursor.ts'
import { CrossfadeError } from './errors.ts'
import { defaultLimits } from './limits.ts'
import type {
  ClientHello,
  ClientMessage,
  Ping,
  Request,
  Subscribe,
  Token,
  TopicPosition,
  Unsubscribe,
} from './messages.ts'
import { assertTopic } from './topic.ts'
import { utf8Length } from './utf8.ts'

const maxIdChars = 128
// 128 random bits in base64url.
const minRequestIdChars = 22
const maxHistory = 10_000
const hashPattern = /^[0-9a-f]{16}$/

const validators: {
  readonly [type in ClientMessage['type']]: (message: Extract<ClientMessage, { type: type }>) => void
} = {
  hello: validateHello,
  subscribe: validateSubscribe,
  unsubscribe: validateUnsubscribe,
  request: validateRequest,
  token: validateToken,
  ping: validatePing,
}

/**
 * Checks the fields of a client's message. What is wrong is told by an `error` message, and the connection goes on (R33).
 *
 * @returns the message.
 * @throws CrossfadeError `invalid_topic` (R1), `invalid_cursor` (R4), `too_large` for a token beyond 8 KiB, else `malformed`.
 */
export function validateClientMessage(message: ClientMessage): ClientMessage {
  if (!Object.hasOwn(validators, message.type)) throw wrong(message.type, 'is not a message that a client sends')
  const validate = validators[message.type] as (message: ClientMessage) => void
  validate(message)
  return message
}

/**
 * Checks the fields of a position: of a `subscribe`, or of an entry in a poll's `topics`.
 * Whether the text of `cursor` is a cursor is not looked at.
 *
 * @throws CrossfadeError `malformed`.
 */
export function validatePosition(position: TopicPosition): void {
  const { cursor, hash, history, mode, stale } = position as { [field in keyof TopicPosition]: unknown }
  if (cursor !== undefined && typeof cursor !== 'string') throw wrong('cursor', 'is not a string')
  if (hash !== undefined && !(typeof hash === 'string' && hashPattern.test(hash)))
    throw wrong('hash', 'is not 16 hex digits')
  if (history !== undefined && !isWhole(history, 0, maxHistory))
    throw wrong('history', `is not a whole number from 0 to ${maxHistory}`)
  if (mode !== undefined && mode !== 'events' && mode !== 'changes')
    throw wrong('mode', 'is neither "events" nor "changes"')
  if (stale !== undefined && typeof stale !== 'boolean') throw wrong('stale', 'is neither true nor false')
}

/**
 * Checks up to which version a client says that it has heard of the stages.
 *
 * @throws CrossfadeError `malformed`.
 */
export function validateStagesSince(version: unknown): asserts version is number | undefined {
  if (version !== undefined && !isWhole(version, 0, Number.MAX_SAFE_INTEGER))
    throw wrong('stagesSince', 'is not a whole number, 0 or more')
}

function validateHello({ protocol, token, stagesSince }: ClientHello): void {
  if (!isWhole(protocol, 1, Number.MAX_SAFE_INTEGER)) throw wrong('protocol', 'is not a version number')
  if (token !== undefined) assertToken(token)
  validateStagesSince(stagesSince)
}

function validateSubscribe(message: Subscribe): void {
  assertId(message.id)
  assertTopic(message.topic)
  validatePosition(message)
  if (message.cursor !== undefined) parseCursor(message.cursor)
}

function validateUnsubscribe({ id }: Unsubscribe): void {
  assertId(id)
}

function validateRequest({ id, method }: Request): void {
  assertId(id, minRequestIdChars)
  if (!isText(method, 1, maxIdChars)) throw wrong('method', `is not a string of 1 to ${maxIdChars} characters`)
}

function validateToken({ token, id }: Token): void {
  assertToken(token)
  if (id !== undefined) assertId(id)
}

function validatePing({ n }: Ping): void {
  if (!Number.isFinite(n)) throw wrong('n', 'is not a number')
}

function assertId(id: unknown, minChars: number = 1): void {
  if (!isText(id, minChars, maxIdChars)) throw wrong('id', `is not a string of ${minChars} to ${maxIdChars} characters`)
}

function assertToken(token: unknown): void {
  if (typeof token !== 'string') throw wrong('token', 'is not a string')
  if (utf8Length(token) > defaultLimits.maxTokenBytes) {
    throw new CrossfadeError(
      'too_large',
      `The token has more than ${defaultLimits.maxTokenBytes} bytes. Send a shorter one.`,
    )
  }
}

function isText(value: unknown, minChars: number, maxChars: number): boolean {
  return typeof value === 'string' && value.length >= minChars && value.length <= maxChars
}

function isWhole(value: unknown, min: number, max: number): boolean {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max
}

function wrong(field: string, why: string): CrossfadeError {
  return new CrossfadeError('malformed', `The field "${field}" ${why}.`)
}
