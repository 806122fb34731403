/** Whether a browser at `origin` may use the push endpoints (R51). */
export type OriginRule = (origin: string | undefined, host: string | undefined) => boolean

/**
 * Makes the Origin check of R51: the request's own host, or the allow-list. No `Origin` passes, because only browsers send one;
 * `null` passes only when listed. Schemes are not compared with the request's own, since TLS often ends before this server.
 *
 * @param allowed origins such as `https://app.example.com`, or `null`.
 */
export function originRule(allowed: readonly string[]): OriginRule {
  const list = new Set(allowed.map((origin) => origin.toLowerCase()))
  return (origin, host) => {
    if (origin === undefined) return true
    if (list.has(origin.toLowerCase())) return true
    return host !== undefined && hostOf(origin) === host.toLowerCase()
  }
}

function hostOf(origin: string): string | null {
  const match = /^https?:\/\/([^/\s]+)$/i.exec(origin)
  return match?.[1] === undefined ? null : match[1].toLowerCase()
}
