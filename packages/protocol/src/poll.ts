import { CrossfadeError } from './errors.ts'
import { isServerMessage } from './message-lines.ts'
import type { ServerMessage, TopicPosition } from './messages.ts'
import { validatePosition, validateStagesSince } from './validate-client-message.ts'

/** The body of `POST {base}/poll`, and without `wait` of `POST {base}/sse` (PROTOCOL §4). */
export interface PollRequest {
  /** The client's position in each topic it wants. */
  topics: Record<string, TopicPosition>
  /** How long the answer may be held until there is an event, ms. 0: not at all (R20). */
  wait?: number
  /** The greatest `version` of a `stage` message that the client has heard, 0 if none: rollouts with a greater one are told, at once (R61). */
  stagesSince?: number
}

/** The answer to a poll (R20). */
export interface PollAnswer {
  messages: ServerMessage[]
  /** The position in each topic after these messages; refused topics are absent. */
  topics: Record<string, { cursor: string }>
  /** The answer was cut: ask again at once (R9). */
  more: boolean
}

/**
 * Reads the body of a poll. Whether names are topics and texts are cursors is not looked at here:
 * that is told topic by topic (R23).
 *
 * @param body parsed JSON.
 * @returns a copy with the known fields only.
 * @throws CrossfadeError `malformed`.
 */
export function parsePollRequest(body: unknown): PollRequest {
  const { topics, wait, stagesSince } = objectOf(body, 'The body') as { [field in keyof PollRequest]: unknown }
  const entries = Object.entries(objectOf(topics, '"topics"')).map(([name, entry]) => [
    name,
    parsePosition(name, entry),
  ])
  if (wait !== undefined && (typeof wait !== 'number' || !(wait >= 0)))
    throw new CrossfadeError('malformed', '"wait" is not a number of milliseconds, 0 or more.')
  validateStagesSince(stagesSince)
  return {
    topics: Object.fromEntries(entries),
    ...(wait === undefined ? {} : { wait }),
    ...(stagesSince === undefined ? {} : { stagesSince }),
  }
}

/**
 * Reads the answer to a poll. Messages of unknown type are dropped.
 *
 * @param body parsed JSON.
 * @throws CrossfadeError `malformed`: what answered was perhaps not our server.
 */
export function parsePollAnswer(body: unknown): PollAnswer {
  const { messages, topics, more } = (body ?? {}) as { [field in keyof PollAnswer]?: unknown }
  if (!Array.isArray(messages) || !isObject(topics)) throw notAnAnswer()
  const positions = Object.entries(topics).map(([name, entry]) => {
    const { cursor } = (entry ?? {}) as { cursor?: unknown }
    if (typeof cursor !== 'string') throw notAnAnswer()
    return [name, { cursor }]
  })
  return { messages: messages.filter(isServerMessage), topics: Object.fromEntries(positions), more: more === true }
}

function notAnAnswer(): CrossfadeError {
  return new CrossfadeError('malformed', 'This is not the answer to a poll: perhaps something else has answered.')
}

function parsePosition(name: string, entry: unknown): TopicPosition {
  const position = objectOf(entry, `The entry of ${JSON.stringify(name)}`) as TopicPosition
  validatePosition(position)
  const { cursor, hash, history, mode, stale } = position
  return {
    ...(cursor === undefined ? {} : { cursor }),
    ...(hash === undefined ? {} : { hash }),
    ...(history === undefined ? {} : { history }),
    ...(mode === undefined ? {} : { mode }),
    ...(stale === undefined ? {} : { stale }),
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function objectOf(value: unknown, what: string): object {
  if (!isObject(value)) throw new CrossfadeError('malformed', `${what} is not a JSON object.`)
  return value
}
