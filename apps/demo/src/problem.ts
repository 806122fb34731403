import type { FastifyReply } from 'fastify'

/** Answers an error as `application/problem+json` (RFC 9457). */
export function problem(reply: FastifyReply, status: number, title: string): FastifyReply {
  return reply
    .code(status)
    .type('application/problem+json')
    .send(JSON.stringify({ type: 'about:blank', title, status }))
}
