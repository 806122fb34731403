import { createClient, type Client, type TransportName } from '@crossfade/client'
import { headerName, parseHeader } from '@crossfade/protocol'
import { FaultProxy, type LogHistory, type ValueHistory } from '@crossfade/testkit'
import { WebSocket } from 'ws'

/** One client of the run: a browser tab with its own network. */
export class Watcher {
  readonly name: string
  readonly proxy: FaultProxy
  readonly #client: Client
  readonly #values = new Map<string, number[]>()
  readonly #logs = new Map<string, LogReader>()
  /** Transports that carried it, in order. */
  readonly used: string[] = []

  private constructor(name: string, proxy: FaultProxy, transports: readonly TransportName[]) {
    this.name = name
    this.proxy = proxy
    this.#client = createClient({
      origin: proxy.origin,
      transports: [...transports],
      environment: { WebSocket },
    })
    this.#client.on('status', (status) => {
      if (status.transport !== null && this.used.at(-1) !== status.transport) this.used.push(status.transport)
    })
  }

  static async start(name: string, origin: string, transports: readonly TransportName[]): Promise<Watcher> {
    return new Watcher(name, await FaultProxy.start(origin), transports)
  }

  watchItem(id: number): void {
    const topic = `items/${id}`
    const versions: number[] = []
    this.#values.set(topic, versions)
    this.#client.subscribe(topic, { onValue: (value) => versions.push((value as { version: number }).version) })
  }

  watchLog(log: string): void {
    const topic = `logs/${log}`
    const reader = new LogReader(`${this.proxy.origin}/api/logs/${log}`)
    this.#logs.set(topic, reader)
    // The page paints its list first; the cursor in that answer is where the events go on.
    void reader.read().then((cursor) =>
      this.#client.subscribe(topic, {
        cursor,
        onEvent: (event) => reader.event((event.data as { n: number }).n),
        onReset: () => void reader.lost(),
      }),
    )
  }

  /** Whether everything committed is on the screen. */
  hasSeen(finalVersions: ReadonlyMap<string, number>, committed: ReadonlyMap<string, readonly number[]>): boolean {
    const values = [...this.#values].every(([topic, versions]) => versions.at(-1) === finalVersions.get(topic))
    return (
      values && [...this.#logs].every(([topic, reader]) => reader.ids.length >= (committed.get(topic)?.length ?? 0))
    )
  }

  histories(): { values: ValueHistory[]; logs: LogHistory[] } {
    const client = this.name
    return {
      values: [...this.#values].map(([topic, versions]) => ({ client, topic, versions })),
      logs: [...this.#logs].map(([topic, reader]) => ({ client, topic, ids: reader.ids })),
    }
  }

  async close(): Promise<void> {
    this.#client.close()
    await this.proxy.close()
  }
}

/**
 * A list on a screen: read from its endpoint at first and after an announced loss, continued by events, which are dropped when the
 * reading gave them already (R4).
 */
class LogReader {
  readonly ids: number[] = []
  readonly #url: string
  readonly #seen = new Set<number>()
  /** What events gave since the last announced loss: the same again is a repeat. */
  #pushed = new Set<number>()
  #waiting: number[] = []
  #readings = 0

  constructor(url: string) {
    this.#url = url
  }

  event(n: number): void {
    if (this.#readings > 0) this.#waiting.push(n)
    else this.#take(n)
  }

  /** History was lost: what events gave does not count any more, and the list is read again from its beginning. */
  async lost(): Promise<void> {
    this.#pushed = new Set()
    this.#waiting = []
    await this.read()
  }

  /** @returns the cursor of the answer. */
  async read(): Promise<string> {
    this.#readings += 1
    const { cursor, entries } = await this.#fetch()
    for (const { n } of entries) if (!this.#seen.has(n)) this.#show(n)
    this.#readings -= 1
    if (this.#readings === 0) for (const n of this.#waiting.splice(0)) this.#take(n)
    return cursor
  }

  #take(n: number): void {
    if (this.#pushed.has(n) || !this.#seen.has(n)) this.#show(n)
    this.#pushed.add(n)
  }

  #show(n: number): void {
    this.#seen.add(n)
    this.ids.push(n)
  }

  async #fetch(): Promise<{ cursor: string; entries: { n: number }[] }> {
    for (let attempt = 0; attempt < 1_000; attempt++) {
      try {
        const response = await fetch(this.#url)
        const header = parseHeader(response.headers.get(headerName))
        if (response.ok && header !== null) {
          return { cursor: header.cursor, entries: ((await response.json()) as { entries: { n: number }[] }).entries }
        }
      } catch {
        // The server or the network is away; so would be the page's own read.
      }
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    throw new Error(`${this.#url} never answered`)
  }
}
