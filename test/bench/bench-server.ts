import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { VariantName } from './variants.ts'

const script = fileURLToPath(new URL('server-process.ts', import.meta.url))

/** A variant's process, as the benchmark sees it. */
export class BenchServer {
  readonly port: number
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
  }

  static async start(name: VariantName): Promise<BenchServer> {
    const child = fork(script, [name], { execArgv: ['--import', 'tsx', '--conditions=@crossfade/source'] })
    const [message] = (await once(child, 'message')) as [{ port: number }]
    return new BenchServer(child, message.port)
  }

  publish(count: number): void {
    this.#child.send({ publish: count })
  }

  /** CPU time used so far, ms. */
  async cpuMs(): Promise<number> {
    const answer = once(this.#child, 'message')
    this.#child.send({ cpu: true })
    const [message] = (await answer) as [{ cpuMs: number }]
    return message.cpuMs
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.kill()
    await exited
  }
}
