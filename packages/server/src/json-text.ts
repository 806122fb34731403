import { CrossfadeError } from '@crossfade/protocol'

/**
 * Serializes a value that a function of the application returned.
 *
 * @throws TypeError when JSON has no form for it: a bigint, a circular structure, a function, a symbol.
 */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(value ?? null) as string | undefined
  if (text === undefined) throw new TypeError(`A ${typeof value} cannot be written as JSON.`)
  return text
}

/**
 * Serializes the data of an event (PROTOCOL §8).
 *
 * @throws CrossfadeError `too_large` beyond `maxBytes`, and as {@link jsonText}.
 */
export function eventText(topic: string, data: unknown, maxBytes: number): string {
  const text = jsonText(data)
  const bytes = Buffer.byteLength(text)
  if (bytes <= maxBytes) return text
  throw new CrossfadeError(
    'too_large',
    `The event for "${topic}" has ${bytes} bytes; ${maxBytes} are allowed. Send an id and let clients read the rest.`,
  )
}
