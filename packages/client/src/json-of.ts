/** The JSON of an answer; no content is the value `null` (R16). */
export function jsonOf(response: Response): Promise<unknown> {
  return response.status === 204 || response.status === 205 ? Promise.resolve(null) : response.json()
}
