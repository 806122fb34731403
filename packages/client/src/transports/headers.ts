/** Headers of a request with a JSON body: those of its own, and the token where there is one. */
export function jsonHeaders(token: string | undefined, own: Record<string, string>): Record<string, string> {
  return {
    'content-type': 'application/json',
    ...own,
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  }
}
