import { find } from './element.ts'

const windowMs = 60_000
const points = 60
const kept = 25

/** Requests a minute, and how long a change took to show, for one half of the page. */
export class Meter {
  readonly #root: HTMLElement
  readonly #startedAt = Date.now()
  #requests: number[] = []
  #delays: number[] = []
  #history: number[] = []

  constructor(root: HTMLElement) {
    this.#root = root
    setInterval(() => this.#draw(), 1_000)
  }

  request(): void {
    this.#requests.push(Date.now())
  }

  /** A change showed this long after it was committed, ms. NaN, for a row without a usable time, is ignored. */
  delay(ms: number): void {
    if (Number.isNaN(ms)) return
    this.#delays = [...this.#delays, Math.max(0, ms)].slice(-kept)
  }

  #draw(): void {
    const now = Date.now()
    this.#requests = this.#requests.filter((at) => at > now - windowMs)
    const minutes = Math.min(windowMs, now - this.#startedAt) / 60_000
    const perMinute = Math.round(this.#requests.length / Math.max(minutes, 1 / 6))
    this.#history = [...this.#history, this.#requests.filter((at) => at > now - 5_000).length].slice(-points)
    find('.rpm', this.#root).textContent = String(perMinute)
    find('.stale', this.#root).textContent = this.#delays.length === 0 ? '–' : seconds(median(this.#delays))
    find<SVGPolylineElement>('polyline', this.#root).setAttribute('points', line(this.#history))
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

function seconds(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

function line(values: readonly number[]): string {
  const top = Math.max(6, ...values)
  return values.map((value, i) => `${(i / (points - 1)) * 120},${26 - (value / top) * 24}`).join(' ')
}
