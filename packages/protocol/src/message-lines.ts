import { CrossfadeError } from './errors.ts'
import type { ClientMessage, ServerMessage } from './messages.ts'

const serverTypes: Readonly<Record<ServerMessage['type'], true>> = {
  hello: true,
  subscribed: true,
  event: true,
  changed: true,
  reset: true,
  stale: true,
  fresh: true,
  unsubscribed: true,
  stage: true,
  heartbeat: true,
  response: true,
  error: true,
  bye: true,
}

const clientTypes: Readonly<Record<ClientMessage['type'], true>> = {
  hello: true,
  subscribe: true,
  unsubscribe: true,
  request: true,
  token: true,
  ping: true,
}

/**
 * Reads a server's frame: one or more messages, one a line (R30). Messages of unknown type are dropped.
 *
 * @throws CrossfadeError `malformed` when a line is not a JSON object with a `type`, or there is none.
 */
export function parseServerMessages(text: string): ServerMessage[] {
  return parseLines(text, serverTypes) as ServerMessage[]
}

/**
 * Reads a client's frame: one or more messages, one a line (R30, R33). Messages of unknown type are dropped; the fields of
 * the others are for `validateClientMessage` to check.
 *
 * @throws CrossfadeError `malformed` when a line is not a JSON object with a `type`, or there is none: the connection closes with 4400.
 */
export function parseClientMessages(text: string): ClientMessage[] {
  return parseLines(text, clientTypes) as ClientMessage[]
}

/** Whether a value is a message of a type that a server sends, as in the `messages` of a poll's answer. */
export function isServerMessage(value: unknown): value is ServerMessage {
  return hasType(value) && Object.hasOwn(serverTypes, value.type)
}

function parseLines(text: string, types: Readonly<Record<string, true>>): { type: string }[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  if (lines.length === 0)
    throw new CrossfadeError('malformed', 'The frame is empty. Send JSON objects with a "type", one a line.')
  return lines.map(parseLine).filter((message) => Object.hasOwn(types, message.type))
}

function parseLine(line: string): { type: string } {
  const value = parseJson(line)
  if (!hasType(value)) throw new CrossfadeError('malformed', `${shorten(line)} is not a JSON object with a "type".`)
  return value
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch (cause) {
    throw new CrossfadeError('malformed', `${shorten(line)} is not JSON. Send JSON objects, one a line.`, { cause })
  }
}

function hasType(value: unknown): value is { type: string } {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string'
}

function shorten(line: string): string {
  return JSON.stringify(line.length > 60 ? `${line.slice(0, 60)}…` : line)
}
