import { createClient, type Client, type TransportName } from '@crossfade/client'
import { WebSocket } from 'ws'

/** Something that a page showed and must not have. */
export interface PageViolation {
  readonly page: string
  readonly what: string
}

interface Entries {
  readonly entries: readonly { readonly n: number }[]
}

/** When a page first showed a version, ms since the process began. */
export type ShownAt = Map<number, number>

const sampleMs = 10

/** A page of the product: a counter and a list, each in a `watch()` that stands for its old polling loop. */
export class Page {
  readonly name: string
  readonly item: number
  readonly log: string
  readonly violations: PageViolation[] = []
  readonly shownAt: ShownAt = new Map()
  readonly #client: Client
  readonly #watches: ReturnType<Client['watch']>[]
  readonly #sampler: NodeJS.Timeout
  #version = 0
  #listed = 0
  #lostAt: number | null = null
  /** How long push did not carry it, each time, ms. */
  readonly gapsMs: number[] = []
  /** How often it left the stage `push`. */
  stageFlips = 0
  #stage = 'off'

  constructor(
    origin: string,
    { item, log, transport, everyMs }: { item: number; log: string; transport: TransportName; everyMs: number },
  ) {
    this.name = `${transport}-${item}-${log}`
    this.item = item
    this.log = log
    this.#client = createClient({ origin, transports: [transport], environment: { WebSocket } })
    // A read that fails is shown as an error by the page, as its own loop would have done; what counts is what it shows.
    const onError = (): void => {}
    this.#watches = [
      this.#client.watch<{ version: number }>(
        `/api/items/${item}`,
        { every: everyMs },
        ({ version }) => this.#showVersion(version),
        onError,
      ),
      this.#client.watch<Entries>(
        `/api/logs/${log}`,
        {
          every: everyMs,
          append: (list, { data }) => ({ entries: [...list.entries, data as { n: number }] }),
          keys: ({ entries }) => entries.map(({ n }) => String(n)),
        },
        ({ entries }) => this.#showList(entries.map(({ n }) => n)),
        onError,
      ),
    ]
    this.#sampler = setInterval(() => this.#sample(), sampleMs)
  }

  get version(): number {
    return this.#version
  }

  get listed(): number {
    return this.#listed
  }

  get isLive(): boolean {
    return this.#watches.every(({ state }) => state.live)
  }

  /** Asks the endpoints, as a page does that has written something. */
  async refresh(): Promise<void> {
    await Promise.all(this.#watches.map((watch) => watch.refresh()))
  }

  close(): void {
    clearInterval(this.#sampler)
    this.#client.close()
  }

  #showVersion(version: number): void {
    if (version < this.#version) this.#violated(`went back from version ${this.#version} to ${version}`)
    for (let v = this.#version + 1; v <= version; v++) this.shownAt.set(v, performance.now())
    this.#version = version
  }

  #showList(list: readonly number[]): void {
    const wrong = list.findIndex((n, index) => n !== index + 1)
    if (wrong !== -1) this.#violated(`showed ${list[wrong]} as entry ${wrong + 1} of its list`)
    if (list.length < this.#listed) this.#violated(`went back from ${this.#listed} entries to ${list.length}`)
    this.#listed = list.length
  }

  #violated(what: string): void {
    this.violations.push({ page: this.name, what })
  }

  #sample(): void {
    const now = performance.now()
    const stage = this.#watches.every(({ state }) => state.stage === 'push') ? 'push' : 'off'
    if (this.#stage === 'push' && stage === 'off') this.stageFlips += 1
    this.#stage = stage
    if (!this.isLive) this.#lostAt ??= now
    else if (this.#lostAt !== null) {
      this.gapsMs.push(now - this.#lostAt)
      this.#lostAt = null
    }
  }
}
