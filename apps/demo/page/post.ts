/**
 * Sends a change to the product.
 *
 * @throws Refusal when it answers with an error, TypeError when it does not answer.
 */
export async function post(url: string, body?: object, method = 'POST'): Promise<void> {
  const init = body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(url, { method, ...init })
  if (!response.ok) throw new Refusal(response.status, await titleOf(response))
}

/** An answer that is an error, in its own words. */
export class Refusal extends Error {
  readonly status: number

  constructor(status: number, title: string) {
    super(`${status}${title === '' ? '' : `, ${title}`}`)
    this.status = status
  }

  /** The same would be refused again. */
  get isFinal(): boolean {
    return this.status >= 400 && this.status < 500
  }
}

/** What a problem document (RFC 9457) says. */
async function titleOf(response: Response): Promise<string> {
  try {
    return ((await response.json()) as { title?: string }).title ?? ''
  } catch {
    return ''
  }
}
