import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { problemHeaders, problemText } from './problem.ts'

/**
 * While it closes, Fastify answers requests by itself, before any hook, with a body of its own. Under `{base}` such an answer also has a `code` and
 * `Retry-After` (PROTOCOL §6).
 *
 * @param isOurs whether a URL is under `{base}`.
 */
export function explainClosing(server: Pick<Server, 'prependListener'>, isOurs: (url: string) => boolean): void {
  server.prependListener('request', ({ url = '' }: IncomingMessage, answer: ServerResponse) => {
    if (!isOurs(url)) return
    const writeHead = answer.writeHead.bind(answer)
    const end = answer.end.bind(answer)
    const text = problemText('overloaded', 'The server is restarting. Reconnect with your cursors.')
    answer.writeHead = () => writeHead(503, { ...problemHeaders('overloaded'), 'content-length': text.length })
    answer.end = () => end(text)
  })
}
