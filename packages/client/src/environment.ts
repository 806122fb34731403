/** What the client uses of the platform. Every part can be replaced, by a test or for Node 20, which has no WebSocket of its own. */
export interface Environment {
  readonly fetch: typeof fetch
  /** `null` where there is none: then that rung is passed over. */
  readonly WebSocket: (new (url: string, protocols: string[]) => WebSocketLike) | null
  /** Wall clock, ms since 1970. */
  readonly now: () => number
  /** 0 ≤ x < 1. */
  readonly random: () => number
  readonly setTimeout: (run: () => void, ms: number) => Timer
  readonly clearTimeout: (timer: Timer | null) => void
  /** Calls back when the page wakes (visible again, online, shown from the cache): a moment to test the connection. @returns what stops it. */
  readonly onWake: (run: () => void) => () => void
  /** Calls back when the page was hidden for two minutes or is put away. @returns what stops it. */
  readonly onSleep: (run: () => void) => () => void
}

/** What a timer is differs between browsers and Node. */
export type Timer = ReturnType<typeof setTimeout>

/** The part of a WebSocket that the client uses; browsers, Node 22 and the package `ws` have it. */
export interface WebSocketLike {
  onopen: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
  send(data: string): void
  close(code?: number): void
}

const hiddenMs = 120_000

/** The platform as it is, with replacements over it. */
export function environmentOf(replacements: Partial<Environment> = {}): Environment {
  const platform: Environment = {
    fetch: (input, init) => globalThis.fetch(input, init),
    WebSocket: (globalThis as { WebSocket?: Environment['WebSocket'] }).WebSocket ?? null,
    now: Date.now,
    random: Math.random,
    setTimeout: (run, ms) => setTimeout(run, ms),
    clearTimeout: (timer) => clearTimeout(timer ?? undefined),
    onWake,
    onSleep,
  }
  return { ...platform, ...replacements }
}

function onWake(run: () => void): () => void {
  if (typeof document === 'undefined') return () => {}
  const visible = (): void => {
    if (document.visibilityState === 'visible') run()
  }
  return listen([
    [document, 'visibilitychange', visible],
    [globalThis, 'online', run],
    // It is wrong at times: a moment to test, no more.
    [globalThis, 'offline', run],
    [globalThis, 'pageshow', run],
    [document, 'resume', run],
  ])
}

function onSleep(run: () => void): () => void {
  if (typeof document === 'undefined') return () => {}
  let timer: ReturnType<typeof setTimeout> | undefined
  const visibility = (): void => {
    clearTimeout(timer)
    if (document.visibilityState === 'hidden') timer = setTimeout(run, hiddenMs)
  }
  return listen([
    [document, 'visibilitychange', visibility],
    [globalThis, 'pagehide', run],
  ])
}

function listen(listeners: [EventTarget, string, () => void][]): () => void {
  for (const [target, type, run] of listeners) target.addEventListener(type, run)
  return () => {
    for (const [target, type, run] of listeners) target.removeEventListener(type, run)
  }
}
