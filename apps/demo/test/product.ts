import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { buildApp } from '../src/app.ts'
import { freshDatabase, type TestDatabase } from '../../../test/database.ts'

/** The demo on a separate database, without simulated traffic. */
export interface Product {
  readonly app: FastifyInstance
  readonly origin: string
  readonly operatorToken: string
  readonly database: TestDatabase
  /** Ends the server and starts another on the same database and port. */
  restart(): Promise<Product>
  close(): Promise<void>
}

/** Starts the demo on 127.0.0.1, on any port. */
export async function startProduct(
  database?: TestDatabase,
  pageFolder: string | null = null,
  port = 0,
): Promise<Product> {
  const own = database ?? (await freshDatabase())
  const { app, operatorToken } = await buildApp({ databaseUrl: own.url, simulate: false, pageFolder })
  const origin = await app.listen({ port, host: '127.0.0.1' })
  return {
    app,
    origin,
    operatorToken,
    database: own,
    async restart() {
      await app.close()
      return startProduct(own, pageFolder, Number(new URL(origin).port))
    },
    async close() {
      await app.close()
      await own.drop()
    },
  }
}

/** Logs in and returns the user's headers. */
export async function logIn(origin: string, name: string): Promise<{ headers: { authorization: string }; id: number }> {
  const answer = await postJson(`${origin}/api/login`, { name })
  const { token, user } = (await answer.json()) as { token: string; user: { id: number } }
  return { headers: { authorization: `Bearer ${token}` }, id: user.id }
}

export function postJson(url: string, body: unknown, authorization?: string, method = 'POST'): Promise<Response> {
  return fetch(url, {
    method,
    headers: { 'content-type': 'application/json', ...(authorization === undefined ? {} : { authorization }) },
    body: JSON.stringify(body),
  })
}

/** An open event stream, read one `data:` line at a time. */
export interface EventStream {
  readonly answer: IncomingMessage
  /** The next message that the test looks for; fails when the stream ends before. */
  next<T>(matches: (message: T) => boolean): Promise<T>
  close(): void
}

/** Opens an endpoint with `Accept: text/event-stream`. */
export async function openStream(url: string, authorization?: string): Promise<EventStream> {
  const request = httpRequest(url, {
    headers: { accept: 'text/event-stream', ...(authorization === undefined ? {} : { authorization }) },
  })
  request.end()
  const [answer] = (await once(request, 'response')) as [IncomingMessage]
  const lines = dataLines(answer)
  return {
    answer,
    async next<T>(matches: (message: T) => boolean): Promise<T> {
      for (;;) {
        const { value, done } = await lines.next()
        if (done === true) throw new Error('the stream ended before the message came')
        const message = JSON.parse(value) as T
        if (matches(message)) return message
      }
    },
    close: () => void request.destroy(),
  }
}

async function* dataLines(answer: IncomingMessage): AsyncGenerator<string, void> {
  let rest = ''
  answer.setEncoding('utf8')
  for await (const chunk of answer) {
    const lines = (rest + String(chunk)).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line.startsWith('data:')) yield line.slice(5).trim()
  }
}
