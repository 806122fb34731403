import { CrossfadeError } from './errors.ts'
import { percentDecode, percentEncode } from './percent.ts'
import { assertTopic, splitName } from './topic.ts'

/** A topic's name with parameters, such as `orders/:id`. */
export interface TopicPattern {
  /** As it was written. */
  readonly text: string
  /** Names of the parameters, in order. */
  readonly params: readonly string[]
  /**
   * The parameters of a topic's name, decoded; its query part does not matter.
   *
   * @returns `null` when the name does not fit, or spells a parameter in another way than `expand` does.
   */
  match(name: string): Record<string, string> | null
  /**
   * The topic's path for these parameters, which are percent-encoded. Others are ignored.
   *
   * @throws CrossfadeError `invalid_topic` when a parameter is missing, empty, `.` or `..`, or the name gets too long (R1).
   */
  expand(params: Readonly<Record<string, string | number>>): string
}

const parameter = /^:[A-Za-z_][A-Za-z0-9_]*$/

/**
 * Reads a topic pattern: segments between slashes, `:name` where a parameter stands.
 *
 * @throws CrossfadeError `invalid_options` when the text is not a pattern.
 */
export function topicPattern(text: string): TopicPattern {
  const segments = text.split('/')
  const params = segments.filter((segment) => segment.startsWith(':')).map((segment) => segment.slice(1))
  assertPattern(text, segments, params)
  return {
    text,
    params,
    match: (name) => match(segments, splitName(name)[0].split('/')),
    expand: (values) => assertTopic(segments.map((segment) => expandSegment(text, segment, values)).join('/')),
  }
}

function match(segments: readonly string[], given: readonly string[]): Record<string, string> | null {
  if (given.length !== segments.length) return null
  const found: [string, string][] = []
  for (const [index, segment] of segments.entries()) {
    const part = given[index] as string
    if (segment.startsWith(':')) {
      const value = percentDecode(part)
      if (value === null || value === '') return null
      found.push([segment.slice(1), value])
    } else if (part !== segment) return null
  }
  return Object.fromEntries(found)
}

function expandSegment(text: string, segment: string, params: Readonly<Record<string, string | number>>): string {
  if (!segment.startsWith(':')) return segment
  const name = segment.slice(1)
  const value: unknown = Object.hasOwn(params, name) ? params[name] : undefined
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint')
    return percentEncode(String(value))
  throw new CrossfadeError(
    'invalid_topic',
    `The topic "${text}" needs the parameter "${name}" as a string or number, got ${value === null ? 'null' : typeof value}.`,
  )
}

function assertPattern(text: string, segments: readonly string[], params: readonly string[]): void {
  const wrong = segments.find((segment) => segment.startsWith(':') && !parameter.test(segment))
  if (wrong !== undefined) throw invalid(text, `"${wrong}" is not a parameter; write ":name"`)
  if (new Set(params).size < params.length) throw invalid(text, 'a parameter stands there twice')
  if (text.includes('?')) throw invalid(text, 'query parameters are declared by the route, not in the pattern')
  try {
    assertTopic(text)
  } catch (cause) {
    throw invalid(text, 'its segments may not be empty, "." or ".."; it begins without a slash', cause)
  }
}

function invalid(text: string, why: string, cause?: unknown): CrossfadeError {
  return new CrossfadeError(
    'invalid_options',
    `${JSON.stringify(text)} is not a topic pattern: ${why}. Write it like "orders/:id".`,
    { cause },
  )
}
