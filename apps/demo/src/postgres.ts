import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@crossfade/testkit/embedded-postgres'

const flags = [
  '-c',
  'wal_level=logical',
  '-c',
  'max_wal_senders=10',
  '-c',
  'max_replication_slots=10',
  '-c',
  'max_slot_wal_keep_size=512MB',
]
/** How often it is restarted within that time; ending it more often is taken as intended. */
const restarts = 5
const restartsWithinMs = 60_000
/** Children of a server that was killed need a moment to end, and a start while they do fails. */
const pauseMs = 1_000

/** How {@link DemoPostgres} restarts by itself. */
export interface Keeping {
  /** Stops restarting: a server that dies from then on stays down. */
  readonly signal: AbortSignal
  /** A line for the terminal. */
  readonly say: (line: string) => void
  /** It is gone for good. */
  readonly giveUp: (why: string) => void
}

/** The demo's own PostgreSQL: started again on its port and data when it dies. */
export class DemoPostgres {
  readonly url: string
  readonly dataFolder: string
  readonly #folder: string
  readonly #keeping: Keeping
  #server: EmbeddedPostgres
  #restartedAt: number[] = []
  #restarting: Promise<void> = Promise.resolve()

  private constructor(folder: string, server: EmbeddedPostgres, keeping: Keeping) {
    this.url = server.url
    this.dataFolder = server.dataFolder
    this.#folder = folder
    this.#server = server
    this.#keeping = keeping
    this.#watch()
  }

  /** Starts it on its data folder, on the port it had before where that is free. */
  static async start(folder: string, keeping: Keeping): Promise<DemoPostgres> {
    mkdirSync(folder, { recursive: true })
    const memory = join(folder, 'port')
    const known = existsSync(memory) ? Number(readFileSync(memory, 'utf8')) : 0
    const server = await startOnAnyPort(folder, known)
    writeFileSync(memory, String(server.port))
    return new DemoPostgres(folder, server, keeping)
  }

  /** Ends it, also while it is started again. */
  async stop(): Promise<void> {
    await this.#restarting
    await this.#server.stop()
  }

  #watch(): void {
    void this.#server.gone.then((how) => {
      if (!this.#keeping.signal.aborted) this.#restarting = this.#restart(`PostgreSQL ended (${how})`)
    })
  }

  async #restart(what: string): Promise<void> {
    const { signal, say, giveUp } = this.#keeping
    const { port } = this.#server
    // It is gone; its claim to the folder is released.
    await this.#server.stop()
    say(`${what}. Starting it again …`)
    let why = 'it ended too often'
    for (;;) {
      const now = performance.now()
      this.#restartedAt = this.#restartedAt.filter((at) => at > now - restartsWithinMs)
      if (this.#restartedAt.length >= restarts) break
      if (this.#restartedAt.length > 0) await pause(pauseMs, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      this.#restartedAt.push(now)
      try {
        this.#server = await start(this.#folder, port)
        say(`PostgreSQL runs again on port ${port}.`)
        return this.#watch()
      } catch (error) {
        why = lineOf(error)
      }
    }
    giveUp(`${what} and was started again ${restarts} times within ${restartsWithinMs / 1000} s: ${why}`)
  }
}

/** PostgreSQL prints many lines. */
function lineOf(error: unknown): string {
  const words = error instanceof Error ? error.message : String(error)
  return /(?:could not|FATAL|PANIC).*/.exec(words)?.[0] ?? words.split('\n', 1)[0] ?? ''
}

async function startOnAnyPort(folder: string, port: number): Promise<EmbeddedPostgres> {
  try {
    return await start(folder, port)
  } catch (error) {
    // Somebody else may have the port by now.
    if (port === 0 || !String(error).includes('Address already in use')) throw error
    return start(folder, 0)
  }
}

function start(folder: string, port: number): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({ dataFolder: join(folder, 'postgres'), port, flags })
}
