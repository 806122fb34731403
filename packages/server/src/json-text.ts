import { CrossfadeError } from '@crossfade/protocol'

/**
 * Writes a value that an application's own function gave.
 *
 * @throws TypeError when JSON cannot write it: a bigint, a circle, a function, a symbol.
 */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(value ?? null) as string | undefined
  if (text === undefined) throw new TypeError(`A ${typeof value} is nothing that JSON can write.`)
  return text
}

/**
 * Writes the data of an event (PROTOCOL §8).
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
