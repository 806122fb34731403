/**
 * Whether an answer depends on a header that the page gave its request (R10). A subscription has no such header, so that its values
 * are not this answer's. `Accept` chooses the form only; `Authorization` is the token, which connections send, too.
 *
 * @param sent the request's own headers.
 */
export function isVariant(sent: HeadersInit | undefined, response: Response): boolean {
  const vary =
    response.headers
      .get('vary')
      ?.toLowerCase()
      .split(/\s*,\s*/) ?? []
  return [...new Headers(sent).keys()].some(
    (name) => name !== 'accept' && name !== 'authorization' && vary.includes(name),
  )
}
