type AnswerHeaders = Readonly<Record<string, number | string | string[] | undefined>>

/** Whether a `content-type` is JSON, or a type built on it such as `application/problem+json`. */
export function isJson(contentType: unknown): boolean {
  return typeof contentType === 'string' && /^application\/(?:[a-z0-9.+-]+\+)?json\b/i.test(contentType)
}

/** Why an answer looks private although its route says `public` (R15), or `null`. */
export function privateReason(headers: AnswerHeaders): string | null {
  if (headers['set-cookie'] !== undefined) return 'it sets a cookie'
  const cacheControl = String(headers['cache-control'] ?? '')
  if (/\b(?:private|no-store)\b/i.test(cacheControl)) return `it says "Cache-Control: ${cacheControl}"`
  const vary = String(headers.vary ?? '')
  return /\b(?:cookie|authorization)\b/i.test(vary) ? `it says "Vary: ${vary}"` : null
}
