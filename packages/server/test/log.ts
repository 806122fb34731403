import type { FastifyBaseLogger } from 'fastify'

const levels = { info: 30, warn: 40, error: 50 } as const

/** A logger that keeps what it is told. */
export interface RecordedLog {
  readonly logger: { readonly level: string; readonly stream: { write(line: string): void } }
  of(level: keyof typeof levels): string[]
  /** The messages of the errors that were logged. */
  readonly errors: readonly string[]
}

/** What an application logs, for a test to read: `Fastify({ logger: recordLog().logger })`. */
export function recordLog(level: FastifyBaseLogger['level'] = 'info'): RecordedLog {
  const lines: { level: number; msg: string; err?: { message: string } }[] = []
  return {
    get errors() {
      return lines.flatMap(({ err }) => (err === undefined ? [] : [err.message]))
    },
    logger: { level, stream: { write: (line) => void lines.push(JSON.parse(line) as (typeof lines)[0]) } },
    of: (name) => lines.filter((line) => line.level === levels[name]).map(({ msg }) => msg),
  }
}
