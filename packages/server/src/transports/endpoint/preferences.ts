/** Seconds that a request is willing to wait (`Prefer: wait=N`, RFC 7240 §4.3), or `null`. */
export function preferredWait(prefer: string | string[] | undefined): number | null {
  if (prefer === undefined) return null
  for (const preference of String(prefer).split(',')) {
    const match = /^\s*wait\s*=\s*"?(\d+)"?\s*(?:;.*)?$/i.exec(preference)
    if (match?.[1] !== undefined) return Number(match[1])
  }
  return null
}

/** Whether `If-None-Match` names the tag, by weak comparison (RFC 9110 §13.1.2). */
export function noneMatch(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  if (header.trim() === '*') return true
  const opaque = etag.replace(/^W\//, '')
  return [...header.matchAll(/(?:W\/)?("[^"]*")/g)].some((match) => match[1] === opaque)
}

/** Whether a client asks for a stream: it names `text/event-stream` itself, so `*` alone does not count, and likes JSON no better. */
export function acceptsEventStream(accept: string | undefined): boolean {
  if (accept === undefined) return false
  const quality = qualityOf('text/event-stream', accept)
  return quality > 0 && quality >= qualityOf('application/json', accept)
}

/** The quality that `Accept` gives a type (RFC 9110 §12.5.1); 0 when it does not name it. */
function qualityOf(type: string, accept: string): number {
  for (const range of accept.split(',')) {
    const [name, ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
    if (name !== type) continue
    const quality = parameters.find((parameter) => parameter.startsWith('q='))
    return quality === undefined ? 1 : Number(quality.slice(2)) || 0
  }
  return 0
}

/** Adds names to a header that lists names, such as `Vary`, whether it was given as one string or as several. */
export function varyWith(present: number | string | string[] | undefined, names: readonly string[]): string {
  const list = [present ?? []].flat().flatMap((line) =>
    String(line)
      .split(',')
      .map((name) => name.trim()),
  )
  if (list.includes('*')) return '*'
  const known = new Set(list.map((name) => name.toLowerCase()))
  return [...list.filter((name) => name !== ''), ...names.filter((name) => !known.has(name.toLowerCase()))].join(', ')
}
