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
