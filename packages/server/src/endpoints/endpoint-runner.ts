import { randomBytes } from 'node:crypto'
import { CrossfadeError, hashValue } from '@crossfade/protocol'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isJson, privateReason } from './answer-headers.ts'

/** A 2xx JSON answer of an endpoint. */
export interface Answer {
  /** The body as JSON text on one line. */
  readonly text: string
  readonly value: unknown
  readonly hash: string
  /** The entity tag that the endpoint itself gave it, or `null`. */
  readonly tag: string | null
  /** The broker key of the topic that the answer belongs to, by the route's own reckoning. */
  readonly topicKey: string | null
  /** Why the answer looks private, or `null` (R15). */
  readonly privateReason: string | null
}

/** An endpoint did not answer 2xx JSON. `status` is 0 when it did not answer in time. */
export class EndpointFailure extends CrossfadeError {
  readonly status: number

  constructor(status: number, message: string) {
    super(status === 401 ? 'unauthenticated' : status >= 400 && status < 500 ? 'forbidden' : 'server_error', message)
    this.status = status
  }

  /** These credentials may not read it, or it is not there for them. */
  get isRefusal(): boolean {
    return [401, 403, 404, 410].includes(this.status)
  }
}

const runHeader = 'x-crossfade-run'
/** A run comes from no network: an endpoint that trusts this machine's own addresses must not take it for a local client. */
const nowhere = '0.0.0.0'

/**
 * Runs wrapped endpoints in process, with the whole life cycle of the route: hooks, validation, serialization, `onSend` (DESIGN §3.2).
 * A request header with a secret of this process marks such a run, so that the wrapper leaves it alone.
 */
export class EndpointRunner {
  readonly #app: FastifyInstance
  readonly #timeoutMs: number
  readonly #secret = randomBytes(18).toString('base64url')
  readonly #topicKeys = new Map<string, string | null>()
  #count = 0

  constructor(app: FastifyInstance, timeoutMs: number) {
    this.#app = app
    this.#timeoutMs = timeoutMs
  }

  /**
   * Answers as the endpoint would answer a client with these headers.
   *
   * @throws EndpointFailure when the answer is not 2xx JSON or takes longer than the time-out.
   */
  async run(url: string, headers: Readonly<Record<string, string>>): Promise<Answer> {
    const id = `${this.#secret}.${(this.#count += 1)}`
    this.#topicKeys.set(id, null)
    try {
      const response = await this.#inTime(
        this.#app.inject({
          method: 'GET',
          url,
          headers: { ...headers, accept: 'application/json', [runHeader]: id },
          remoteAddress: nowhere,
        }),
        url,
      )
      if (response.statusCode < 200 || response.statusCode > 299) {
        throw new EndpointFailure(response.statusCode, `The endpoint ${url} answered ${response.statusCode}.`)
      }
      if (!isJson(response.headers['content-type'])) {
        throw new EndpointFailure(
          0,
          `The endpoint ${url} answered ${String(response.headers['content-type'])} instead of JSON. Wrap only routes that answer JSON.`,
        )
      }
      return {
        ...readJson(response.payload, url),
        tag: tagOf(response.headers.etag),
        topicKey: this.#topicKeys.get(id) ?? null,
        privateReason: privateReason(response.headers),
      }
    } finally {
      this.#topicKeys.delete(id)
    }
  }

  /** The id of the in-process run that a request belongs to, or `null` for a client's own request. Takes the mark off. */
  runOf(request: FastifyRequest): string | null {
    const id = request.headers[runHeader]
    if (typeof id !== 'string') return null
    delete request.raw.headers[runHeader]
    return this.#topicKeys.has(id) ? id : null
  }

  /** Notes to which topic the route's own reckoning assigns a run. */
  note(run: string, topicKey: string | null): void {
    if (this.#topicKeys.has(run)) this.#topicKeys.set(run, topicKey)
  }

  async #inTime<T>(answer: Promise<T>, url: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new EndpointFailure(0, `The endpoint ${url} did not answer within ${this.#timeoutMs} ms.`))
      }, this.#timeoutMs)
    })
    try {
      return await Promise.race([answer, late])
    } finally {
      clearTimeout(timer)
    }
  }
}

function tagOf(header: unknown): string | null {
  return typeof header === 'string' ? header : null
}

function readJson(payload: string, url: string): { text: string; value: unknown; hash: string } {
  let value: unknown
  try {
    value = JSON.parse(payload)
  } catch {
    throw new EndpointFailure(0, `The endpoint ${url} says that its answer is JSON, but it is not.`)
  }
  // A message is one line: an indented body is written again.
  const text = /[\r\n]/.test(payload) ? JSON.stringify(value) : payload
  return { text, value, hash: hashValue(value) }
}
