import { seededRandom } from '@crossfade/testkit'
import pg from 'pg'
import { ProductServer } from '../history/product-server.ts'
import { tables } from '../history/product.ts'
import { Writers } from '../history/writers.ts'
import { LoadBalancer } from './load-balancer.ts'
import { Page } from './page.ts'

/** What a run does. */
export interface RollingOptions {
  /** An empty database with `wal_level=logical`. */
  readonly databaseUrl: string
  readonly seed: number
  /** Replacements of the running process, each by SIGTERM or SIGKILL. */
  readonly signals: readonly ('SIGTERM' | 'SIGKILL')[]
  /** How long a takeover may take, and a page be without push, ms. */
  readonly boundMs: number
  /** Pages on each transport. */
  readonly pagesPerTransport: number
  readonly log: (line: string) => void
}

/** What a run came to. */
export interface RollingResult {
  readonly violations: readonly string[]
  readonly committed: number
  /** The longest that a process took from the end of the other to the start of its own push, ms. */
  readonly longestTakeoverMs: number
  /** The longest that push did not carry a page, ms. */
  readonly longestGapMs: number
  /** The longest that a committed change took to a page, ms, by push or by a poll. */
  readonly longestDelayMs: number
}

const transports = ['websocket', 'sse', 'longpoll'] as const
const items = [1, 2, 3]
const logs = ['a', 'b']
const everyMs = 1_000
/** How long both processes serve before the old one is ended. */
const overlapMs = 2_000
const takeoverWaitMs = 30_000
const settleMs = 30_000
const maxChanges = 1_000_000

/**
 * Replaces the process that serves again and again, as a rolling deploy does that waits for readiness: the next one is started beside
 * it on the same slot, both serve for a while behind a load balancer, and the old one is ended. Pages watch while writers write.
 */
export async function runRollingDeploy(options: RollingOptions): Promise<RollingResult> {
  const { databaseUrl, seed, signals, boundMs, log } = options
  await createTables(databaseUrl)
  const writing = new Writers(databaseUrl, seededRandom(seed), items, logs)
  await writing.prepare()
  const balancer = await LoadBalancer.start()
  const violations: string[] = []
  let running = new ProductServer(databaseUrl)
  await running.start()
  balancer.use(running.origin)
  const pages = openPages(balancer.origin, options.pagesPerTransport)
  const committedAt = new CommitClock(databaseUrl)
  const stopWriting = new AbortController()
  const written = writing.run(
    maxChanges,
    3,
    () => 15,
    () => stopWriting.signal.aborted,
  )
  let longestTakeoverMs = 0
  try {
    await until(settleMs, () => pages.every(({ isLive }) => isLive), 'the pages did not go to push')
    for (const page of pages) page.gapsMs.length = 0
    await committedAt.start()
    for (const [round, signal] of signals.entries()) {
      const next = new ProductServer(databaseUrl)
      await next.start()
      const state = await pushOf(next.origin)
      if (state !== 'standby') violations.push(`round ${round + 1}: the new process said ${state} when it was ready`)
      balancer.use(running.origin, next.origin)
      const flips = await serveBoth(pages.filter(({ name }) => !name.startsWith('longpoll')))
      if (flips > 0) violations.push(`round ${round + 1}: pages left push ${flips} times while both processes served`)
      balancer.use(next.origin)
      const endedAt = performance.now()
      const ended = running.stop(signal)
      await until(takeoverWaitMs, async () => (await pushOf(next.origin)) === 'open', 'nobody took over')
      const tookMs = performance.now() - endedAt
      longestTakeoverMs = Math.max(longestTakeoverMs, tookMs)
      await ended
      await until(settleMs, () => pages.every(({ isLive }) => isLive), 'the pages did not come back to push')
      log(`round ${round + 1}: ${signal}, taken over in ${tookMs.toFixed(0)} ms`)
      running = next
    }
    stopWriting.abort()
    await written
    committedAt.stop()
    const { finalVersions, committed } = await writing.outcome()
    const isShown = (): boolean =>
      pages.every(
        (page) =>
          page.version === finalVersions.get(`items/${page.item}`) &&
          page.listed === committed.get(`logs/${page.log}`)?.length,
      )
    await until(settleMs, isShown, '').catch(() => violations.push('a page does not show what is in the database'))
  } finally {
    stopWriting.abort()
    await written.catch(() => {})
    committedAt.stop()
    for (const page of pages) page.close()
    await balancer.close()
    await writing.close()
    await running.stop('SIGKILL')
  }
  violations.push(...pages.flatMap((page) => page.violations.map(({ what }) => `${page.name} ${what}`)))
  const longestGapMs = Math.max(0, ...pages.flatMap(({ gapsMs }) => gapsMs))
  if (longestTakeoverMs > boundMs) violations.push(`the takeover took ${longestTakeoverMs.toFixed(0)} ms`)
  if (longestGapMs > boundMs) violations.push(`push did not carry a page for ${longestGapMs.toFixed(0)} ms`)
  const longestDelayMs = Math.max(0, ...pages.map((page) => committedAt.longestDelayMs(page.item, page.shownAt)))
  return { violations, committed: writing.committed, longestTakeoverMs, longestGapMs, longestDelayMs }
}

async function createTables(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  await client.query(tables)
  await client.end()
}

function openPages(origin: string, perTransport: number): Page[] {
  return transports.flatMap((transport) =>
    Array.from({ length: perTransport }, (_, n) => {
      const item = items[n % items.length] ?? 1
      return new Page(origin, { item, log: logs[n % logs.length] ?? 'a', transport, everyMs })
    }),
  )
}

/** Lets pages read from both processes in turn. @returns how often they left push. */
async function serveBoth(pages: readonly Page[]): Promise<number> {
  const before = pages.reduce((sum, { stageFlips }) => sum + stageFlips, 0)
  for (const end = performance.now() + overlapMs; performance.now() < end;) {
    await Promise.all(pages.map((page) => page.refresh()))
    await pause(100)
  }
  return pages.reduce((sum, { stageFlips }) => sum + stageFlips, 0) - before
}

/** What a process says at `/health`; `null` when it says nothing. */
async function pushOf(origin: string): Promise<string | null> {
  try {
    const response = await fetch(`${origin}/crossfade/health`)
    return response.status === 200 ? ((await response.json()) as { push: string }).push : null
  } catch {
    return null
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function until(ms: number, isSo: () => boolean | Promise<boolean>, failure: string): Promise<void> {
  for (const end = performance.now() + ms; !(await isSo()); await pause(20))
    if (performance.now() > end) throw new Error(failure)
}

/** Reads the counters all the time: when was a version in the database at the latest? */
class CommitClock {
  readonly #pool: pg.Pool
  readonly #seen = new Map<string, number>()
  readonly #newest = new Map<number, number>()
  #timer: NodeJS.Timeout | null = null
  #stopped = false

  constructor(databaseUrl: string) {
    this.#pool = new pg.Pool({ connectionString: databaseUrl, max: 1 })
    this.#pool.on('error', () => {})
  }

  async start(): Promise<void> {
    await this.#look()
    this.#seen.clear()
    const again = (): void => {
      this.#timer = setTimeout(() => void this.#look().then(() => (this.#stopped ? undefined : again())), 10)
    }
    again()
  }

  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    void this.#pool.end()
  }

  longestDelayMs(item: number, shownAt: ReadonlyMap<number, number>): number {
    const delays = [...this.#seen].flatMap(([key, at]) => {
      const [id, version] = key.split(' ').map(Number)
      const shown = version === undefined ? undefined : shownAt.get(version)
      return id === item && shown !== undefined ? [shown - at] : []
    })
    return Math.max(0, ...delays)
  }

  async #look(): Promise<void> {
    const { rows } = await this.#pool.query<{ id: number; version: number }>('SELECT id, version FROM items')
    const now = performance.now()
    for (const { id, version } of rows) {
      for (let v = (this.#newest.get(id) ?? 0) + 1; v <= version; v++) this.#seen.set(`${id} ${v}`, now)
      this.#newest.set(id, version)
    }
  }
}
