import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const script = fileURLToPath(new URL('product-process.ts', import.meta.url))
const root = fileURLToPath(new URL('../..', import.meta.url))

/** The product as a process that can be restarted, gently or not. It keeps its port. */
export class ProductServer {
  readonly #databaseUrl: string
  #child: ChildProcess | null = null
  #port = 0

  constructor(databaseUrl: string) {
    this.#databaseUrl = databaseUrl
  }

  get origin(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', '--conditions=@crossfade/source', script, this.#databaseUrl, String(this.#port)],
      { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] },
    )
    this.#child = child
    this.#port = await readyPort(child)
  }

  /** @param signal `SIGTERM` drains, `SIGKILL` does not ask. */
  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child
    if (child === null || child.exitCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
    this.#child = null
  }
}

async function readyPort(child: ChildProcess): Promise<number> {
  if (child.stdout === null) throw new Error('the product has no output')
  for await (const line of createInterface(child.stdout)) {
    const match = /^ready http:\/\/127\.0\.0\.1:(\d+)$/.exec(line)
    if (match) return Number(match[1])
  }
  throw new Error(`the product ended with ${child.exitCode} before it was ready`)
}
