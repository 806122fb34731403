import { judge, seededRandom, type Random, type Violation } from '@crossfade/testkit'
import type { TransportName } from '@crossfade/client'
import pg from 'pg'
import { ProductServer } from './product-server.ts'
import { tables } from './product.ts'
import { Watcher } from './watchers.ts'
import { Writers } from './writers.ts'

/** What a run does. */
export interface HistoryOptions {
  /** An empty database with `wal_level=logical`. */
  readonly databaseUrl: string
  readonly seed: number
  /** Committed changes. */
  readonly changes: number
  /** Clients that keep to each transport, and as many again that switch. */
  readonly clientsPerTransport: number
  /** Restarts of the server: drained, then by kill −9, by turns. */
  readonly restarts: number
  /** Spreads the changes over this time, ms. */
  readonly durationMs: number
  readonly log: (line: string) => void
}

/** What a run came to. */
export interface HistoryResult {
  readonly violations: readonly Violation[]
  readonly committed: number
  readonly shown: number
  readonly kills: number
  readonly switches: number
  readonly restarts: number
  readonly seconds: number
}

const transports = ['websocket', 'sse', 'longpoll', 'shortpoll'] as const satisfies readonly TransportName[]
const items = [1, 2, 3, 4]
const logs = ['a', 'b', 'c']
const writers = 4
const settleMs = 60_000

/**
 * Writers commit numbered changes while connections are killed, transports blocked and the server restarted at random; every client
 * records what it showed, and the judge compares that with the database.
 */
export async function runHistory(options: HistoryOptions): Promise<HistoryResult> {
  const startedAt = performance.now()
  const random = seededRandom(options.seed)
  const server = new ProductServer(options.databaseUrl)
  await createTables(options.databaseUrl)
  const writing = new Writers(options.databaseUrl, random, items, logs)
  await writing.prepare()
  await server.start()
  const watchers = await startWatchers(server.origin, options.clientsPerTransport)
  const chaos = new Chaos(server, watchers, random, options)
  try {
    const pauseMs = (): number => random.next() * 2 * (options.durationMs / (options.changes / writers / 3))
    const ended = writing.run(options.changes, writers, pauseMs)
    await chaos.run(() => writing.committed / options.changes, ended)
    await ended
    chaos.heal()
    const outcome = await writing.outcome()
    await settled(watchers, () =>
      watchers.every((watcher) => watcher.hasSeen(outcome.finalVersions, outcome.committed)),
    )
    const histories = watchers.map((watcher) => watcher.histories())
    const values = histories.flatMap((history) => history.values)
    const seen = histories.flatMap((history) => history.logs)
    return {
      violations: judge({ values, logs: seen, ...outcome }),
      committed: writing.committed,
      shown:
        values.reduce((sum, { versions }) => sum + versions.length, 0) +
        seen.reduce((sum, { ids }) => sum + ids.length, 0),
      kills: chaos.kills,
      switches: watchers.reduce((sum, watcher) => sum + Math.max(0, watcher.used.length - 1), 0),
      restarts: chaos.restarts,
      seconds: (performance.now() - startedAt) / 1000,
    }
  } finally {
    await Promise.all(watchers.map((watcher) => watcher.close()))
    await writing.close()
    await server.stop('SIGKILL')
  }
}

async function createTables(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  await client.query(tables)
  await client.end()
}

async function startWatchers(origin: string, perTransport: number): Promise<Watcher[]> {
  const watchers: Watcher[] = []
  for (let n = 0; n < perTransport; n++) {
    for (const transport of transports) watchers.push(await Watcher.start(`${transport}-${n}`, origin, [transport]))
    for (let s = 0; s < 2; s++) watchers.push(await Watcher.start(`switcher-${n}-${s}`, origin, transports))
  }
  for (const watcher of watchers) {
    for (const id of items) watcher.watchItem(id)
    for (const log of logs) watcher.watchLog(log)
  }
  return watchers
}

/** Waits until all is seen or nothing more can be hoped for; the judge says what is missing. */
async function settled(watchers: readonly Watcher[], done: () => boolean): Promise<void> {
  const until = performance.now() + settleMs
  while (!done() && performance.now() < until && watchers.length > 0)
    await new Promise((resolve) => setTimeout(resolve, 50))
  // Time for a repeat to arrive, if there is one.
  await new Promise((resolve) => setTimeout(resolve, 500))
}

/** The faults of one run. */
class Chaos {
  readonly #server: ProductServer
  readonly #watchers: readonly Watcher[]
  readonly #random: Random
  readonly #options: HistoryOptions
  kills = 0
  restarts = 0

  constructor(server: ProductServer, watchers: readonly Watcher[], random: Random, options: HistoryOptions) {
    this.#server = server
    this.#watchers = watchers
    this.#random = random
    this.#options = options
  }

  /** Injects faults until the writers have ended. */
  async run(progress: () => number, ended: Promise<void>): Promise<void> {
    const over = ended.then(() => 'over' as const)
    for (;;) {
      const next = await Promise.race([
        new Promise((resolve) => setTimeout(resolve, 50 + this.#random.below(400))),
        over,
      ])
      if (next === 'over') return
      if (this.#restartIsDue(progress())) await this.#restart()
      else this.#disturb(this.#random.pick(this.#watchers))
    }
  }

  /** Spread evenly over the run. */
  #restartIsDue(progress: number): boolean {
    const { restarts } = this.#options
    return this.restarts < restarts && progress > (this.restarts + 1) / (restarts + 1)
  }

  heal(): void {
    for (const watcher of this.#watchers) watcher.proxy.heal()
  }

  #disturb(watcher: Watcher): void {
    if (watcher.name.startsWith('switcher')) {
      watcher.proxy.heal()
      watcher.proxy.faults.upgrade = this.#random.pick(['pass', 'refuse', 'strip'])
      watcher.proxy.faults.stream = this.#random.pick(['pass', 'pass', 'refuse', 'hold'])
    }
    watcher.proxy.killAll()
    this.kills += 1
  }

  async #restart(): Promise<void> {
    const signal = this.restarts % 2 === 0 ? 'SIGTERM' : 'SIGKILL'
    this.restarts += 1
    await this.#server.stop(signal)
    await this.#server.start()
    this.#options.log(`restart ${this.restarts} by ${signal}`)
  }
}
