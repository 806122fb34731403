import { parseCursor } from './cursor.ts'
import { CrossfadeError } from './errors.ts'
import type { ClientMessage, PollRequest, ServerMessage, TopicPosition } from './messages.ts'
import { assertTopic } from './topic.ts'

const serverTypes = new Set([
  'hello',
  'subscribed',
  'event',
  'changed',
  'reset',
  'unsubscribed',
  'stage',
  'heartbeat',
  'response',
  'error',
  'bye',
])
const clientTypes = new Set(['hello', 'subscribe', 'unsubscribe', 'request', 'token', 'ping'])

const maxIdLength = 128
const maxHistory = 10_000
const maxTokenLength = 8 * 1024
const maxWaitMs = 600_000

type Fields = Readonly<Record<string, unknown>>

/**
 * Reads the messages of one frame or event: one a line (R30). Messages of an unknown type are left out, unknown fields kept.
 *
 * @throws CrossfadeError `malformed`
 */
export function parseServerMessages(text: string): ServerMessage[] {
  return parseLines(text).filter((message) => serverTypes.has(message.type)) as unknown as ServerMessage[]
}

/**
 * Reads the messages of a client's frame, like {@link parseServerMessages}. Their fields are not checked yet: a malformed frame ends the
 * connection, wrong fields do not (R33).
 *
 * @throws CrossfadeError `malformed`
 */
export function parseClientMessages(text: string): ClientMessage[] {
  return parseLines(text).filter((message) => clientTypes.has(message.type)) as unknown as ClientMessage[]
}

/**
 * Checks the fields of a client's message.
 *
 * @returns the message.
 * @throws CrossfadeError `malformed`, `invalid_topic`, `invalid_cursor`
 */
export function validateClientMessage(message: ClientMessage): ClientMessage {
  const fields = message as unknown as Fields
  switch (message.type) {
    case 'hello':
      check(Number.isInteger(fields['protocol']), 'hello.protocol must be a whole number')
      optional(fields, 'token', isToken, `hello.token must be text of at most ${maxTokenLength} characters`)
      optional(fields, 'features', isListOfText, 'hello.features must be a list of text')
      break
    case 'subscribe':
      check(isId(fields['id']), idRule('subscribe'))
      assertTopic(fields['topic'])
      checkPosition(fields)
      break
    case 'unsubscribe':
      check(isId(fields['id']), idRule('unsubscribe'))
      break
    case 'request':
      check(isId(fields['id']), idRule('request'))
      check(isText(fields['method']), 'request.method must be text')
      break
    case 'token':
      check(isToken(fields['token']), `token.token must be text of at most ${maxTokenLength} characters`)
      break
    case 'ping':
      check(Number.isSafeInteger(fields['n']), 'ping.n must be a whole number')
      break
  }
  return message
}

/**
 * Reads the body of a poll or a stream. Whether each topic and position is valid is told topic by topic, not here (R23).
 *
 * @throws CrossfadeError `malformed`
 */
export function parsePollRequest(body: unknown): PollRequest {
  check(
    isObject(body) && isObject(body['topics']),
    'The body must be an object like {"topics": {"orders/42": {}}, "wait": 25000}',
  )
  const topics = Object.entries(body['topics']).map(([topic, position]): [string, TopicPosition] => {
    check(
      isObject(position),
      `topics[${JSON.stringify(topic.slice(0, 80))}] must be an object like {"cursor": "…"}, or {}`,
    )
    return [topic, position]
  })
  const wait = body['wait']
  check(
    wait === undefined || (typeof wait === 'number' && wait >= 0 && wait <= maxWaitMs),
    `wait must be a number of milliseconds from 0 to ${maxWaitMs}`,
  )
  return { topics: Object.fromEntries(topics), ...(wait === undefined ? {} : { wait: wait as number }) }
}

function parseLines(text: string): { type: string }[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map(parseLine)
}

function parseLine(line: string): { type: string } {
  let message: unknown
  try {
    message = JSON.parse(line)
  } catch {
    throw malformed(`A message is not JSON: ${JSON.stringify(line.slice(0, 80))}`)
  }
  check(isObject(message) && typeof message['type'] === 'string', 'A message must be a JSON object with a "type"')
  return message as unknown as { type: string }
}

/**
 * Checks where a client says it stands.
 *
 * @throws CrossfadeError `malformed`, `invalid_cursor`
 */
export function validatePosition(position: TopicPosition): void {
  checkPosition(position as unknown as Fields)
}

function checkPosition(fields: Fields): void {
  const { cursor, history, mode } = fields
  if (cursor !== undefined) parseCursor(cursor as string)
  optional(fields, 'hash', isHash, 'hash must be 16 hexadecimal digits')
  check(
    history === undefined ||
      (Number.isInteger(history) && (history as number) >= 0 && (history as number) <= maxHistory),
    `history must be a whole number from 0 to ${maxHistory}`,
  )
  check(mode === undefined || mode === 'events' || mode === 'changes', 'mode must be "events" or "changes"')
}

function optional(fields: Fields, name: string, test: (value: unknown) => boolean, rule: string): void {
  check(fields[name] === undefined || test(fields[name]), rule)
}

function check(holds: boolean, rule: string): asserts holds {
  if (!holds) throw malformed(rule)
}

function malformed(rule: string): CrossfadeError {
  return new CrossfadeError('malformed', `${rule}.`)
}

function idRule(type: string): string {
  return `${type}.id must be text of 1 to ${maxIdLength} characters`
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value !== ''
}

function isId(value: unknown): boolean {
  return typeof value === 'string' && value !== '' && value.length <= maxIdLength
}

function isToken(value: unknown): boolean {
  return typeof value === 'string' && value.length <= maxTokenLength
}

function isHash(value: unknown): boolean {
  return typeof value === 'string' && /^[0-9a-f]{16}$/.test(value)
}

function isListOfText(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
