import { randomUUID } from 'node:crypto'
import { hashValue } from '@crossfade/protocol'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isJson, privateReason } from './answer-headers.ts'
import type { RunKind } from './run-kind.ts'
import { urlOfTopic, type TopicAddress } from './topic-address.ts'
import { isPassing, retryAfterMs, type Answer, type Refusal, type Unknown, type Verdict } from './verdict.ts'

/** The client that an endpoint is run for. */
export interface RunAs {
  readonly headers: Readonly<Record<string, string>>
  /** The network address that the run carries; `null`: an address that no client has. */
  readonly ip: string | null
}

/** What a run asks for. */
export interface RunOptions {
  readonly kind: RunKind
  /** Path and query, if not the topic's own: a page of a list. */
  readonly url?: string
  /** The entity tag for `If-None-Match`: an endpoint that finds it current answers 304. */
  readonly ifNoneMatch?: string | undefined
}

interface Run {
  readonly kind: RunKind
  /** The broker key of the topic to which the route itself assigns the answer. */
  topicKey: string | null
  /** The route could not identify the client of the run. */
  isUncertain: boolean
}

const runHeader = 'x-crossfade-run'
/** An address that no client has: an endpoint that trusts this machine's own addresses must not mistake the run for a local client. */
const nowhere = '0.0.0.0'

/**
 * Runs wrapped endpoints in process, with the whole life cycle of the route: hooks, validation, serialization, `onSend` (DESIGN §3.2).
 * A request header with a secret of its own marks such a run, so that the wrapper leaves it alone and the application can recognise it.
 */
export class EndpointRunner {
  readonly #app: FastifyInstance
  /** The time limit for an endpoint's answer to a run, ms. */
  readonly timeoutMs: number
  readonly #runs = new Map<string, Run>()
  readonly #requests = new WeakMap<object, Run>()

  constructor(app: FastifyInstance, timeoutMs: number) {
    this.#app = app
    this.timeoutMs = timeoutMs
  }

  /** Asks a topic's endpoint as a client with these headers would. Never rejects: failures are verdicts, too. */
  async run(address: TopicAddress, as: RunAs, options: RunOptions): Promise<Verdict> {
    const url = options.url ?? urlOfTopic(address)
    const id = randomUUID()
    const run: Run = { kind: options.kind, topicKey: null, isUncertain: false }
    this.#runs.set(id, run)
    try {
      const response = await this.#inject(url, address, as, id, options.ifNoneMatch)
      if (response === null)
        return unknown(0, `The endpoint ${url} did not answer within ${this.timeoutMs} ms.`, null, 'endpoint_timeout')
      if (run.isUncertain && response.statusCode < 400)
        return unknown(response.statusCode, `authenticate failed for ${url}.`, null, 'unverified')
      return judge(response, url, run.topicKey === address.key, options.ifNoneMatch !== undefined)
    } catch (error) {
      return unknown(500, `The endpoint ${url} failed: ${error instanceof Error ? error.message : String(error)}`)
    } finally {
      this.#runs.delete(id)
    }
  }

  /** Why a request is made, when it is a run of this server; `null` for a client's own. */
  kindOf(request: FastifyRequest): RunKind | null {
    return this.#runOf(request)?.kind ?? null
  }

  /** Notes the topic to which the route itself assigns a run. */
  note(request: FastifyRequest, topicKey: string | null): void {
    const run = this.#runOf(request)
    if (run) run.topicKey = topicKey
  }

  /** Notes that the client of a run could not be identified: its answer is neither a refusal nor a permission. */
  doubt(request: FastifyRequest): void {
    const run = this.#runOf(request)
    if (run) run.isUncertain = true
  }

  /** Removes the header: nobody else should see it, least of all services to which the application forwards its headers. */
  #runOf({ raw }: FastifyRequest): Run | undefined {
    const id = raw.headers[runHeader]
    if (id === undefined) return this.#requests.get(raw)
    delete raw.headers[runHeader]
    const at = raw.rawHeaders.indexOf(runHeader)
    if (at !== -1) raw.rawHeaders.splice(at, 2)
    const run = typeof id === 'string' ? this.#runs.get(id) : undefined
    if (run) this.#requests.set(raw, run)
    return run
  }

  /** @returns `null` when the endpoint does not answer in time; its request is aborted then. */
  async #inject(
    url: string,
    { definition }: TopicAddress,
    { headers, ip }: RunAs,
    id: string,
    ifNoneMatch: string | undefined,
  ): Promise<Response | null> {
    const late = new AbortController()
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<null>((resolve) => {
      timer = setTimeout(() => {
        resolve(null)
        late.abort()
      }, this.timeoutMs)
    })
    const answer = this.#app.inject({
      method: 'GET',
      url,
      headers: {
        ...headers,
        ...definition.runHeaders,
        accept: 'application/json',
        ...(ifNoneMatch === undefined ? {} : { 'if-none-match': ifNoneMatch }),
        [runHeader]: id,
      },
      remoteAddress: ip ?? nowhere,
      signal: late.signal,
    })
    // An answer, or an error, that comes after the time-out is ignored.
    answer.catch(() => {})
    try {
      return await Promise.race([answer, timeout])
    } finally {
      clearTimeout(timer)
    }
  }
}

type Response = Awaited<ReturnType<FastifyInstance['inject']>>

/**
 * @param isOwn whether the route itself assigns the answer to the topic.
 * @param isConditional whether the run had `If-None-Match`.
 */
function judge(response: Response, url: string, isOwn: boolean, isConditional: boolean): Verdict {
  const { statusCode: status, headers } = response
  if (isPassing(status)) {
    const reason = status === 429 ? 'rate_limited' : 'endpoint_failed'
    return unknown(status, `The endpoint ${url} answered ${status}.`, retryAfterMs(headers['retry-after']), reason)
  }
  if (status === 304 && isOwn && isConditional) return { kind: 'unchanged' }
  if (status === 404 || status === 410)
    return { kind: 'gone', status, detail: `The endpoint ${url} answered ${status}.` }
  if (status < 200 || status > 299) return refused(status, `The endpoint ${url} answered ${status}.`)
  if (!isOwn) return refused(status, `The endpoint's answer to ${url} does not belong to the topic.`)
  const isEmpty = status === 204 || status === 205
  if (!isEmpty && !isJson(headers['content-type'])) {
    const type = String(headers['content-type'] ?? 'no content type')
    return refused(status, `The endpoint ${url} answered ${type} instead of JSON. Wrap only routes that answer JSON.`)
  }
  const body = readJson(isEmpty ? 'null' : response.payload)
  if (body === null) return unknown(status, `The endpoint ${url} says that its answer is JSON, but it is not.`)
  return { kind: 'value', answer: { ...body, tag: tagOf(headers.etag), privateReason: privateReason(headers) } }
}

function refused(status: number, detail: string): Refusal {
  return { kind: 'refused', status, detail }
}

function unknown(
  status: number,
  detail: string,
  retryMs: number | null = null,
  reason: Unknown['reason'] = 'endpoint_failed',
): Unknown {
  return { kind: 'unknown', status, reason, retryAfterMs: retryMs, detail }
}

function tagOf(header: unknown): string | null {
  return typeof header === 'string' ? header : null
}

/** @returns `null` when it is not JSON, or nests too deeply for a hash. */
function readJson(payload: string): Pick<Answer, 'text' | 'value' | 'hash'> | null {
  try {
    const value: unknown = JSON.parse(payload)
    // A message is one line: an indented body is serialized again.
    const text = /[\r\n]/.test(payload) ? JSON.stringify(value) : payload
    return { text, value, hash: hashValue(value) }
  } catch {
    return null
  }
}
