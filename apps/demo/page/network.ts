import type { ClientStatus } from '@crossfade/client'
import { find } from './element.ts'
import { post } from './post.ts'

const carriers: Record<string, string> = {
  websocket: 'WebSocket',
  sse: 'Server-Sent Events',
  longpoll: 'Long poll',
  shortpoll: 'Short poll',
  endpoint: 'Its own endpoint',
}

const reasons: Record<string, string> = {
  closed: 'because the connection ended',
  'ws-blocked': 'because WebSocket is blocked here',
  'ws-silent': 'because the WebSocket fell silent',
  'sse-blocked': 'because SSE is blocked here',
  'sse-buffered': 'because SSE is blocked here: something holds its bytes back',
  'poll-failed': 'because polls fail here',
  'server-down': 'because nothing of Crossfade answers',
  unstable: 'because connections die young here',
  auth: 'because the login was refused',
  refused: 'because the server refused this page',
  unsupported: 'because this browser has nothing better',
}

const everyMs = 5_000

/** Shows what carries the page and why, and lets the visitor break the network. */
export class NetworkPanel {
  readonly #root = find('.network')
  readonly #boxes = [...this.#root.querySelectorAll<HTMLInputElement>('[data-block]')]
  /** Boxes that the visitor changed and the proxy has not confirmed yet. */
  #touches = 0
  #sending = 0

  private constructor() {
    for (const box of this.#boxes) box.addEventListener('change', () => void this.#block())
    setInterval(() => void this.refresh(), everyMs)
  }

  /** Gets this visitor's network, and the cookie by which the proxy knows whose connections to cut: before there are any. */
  static async open(): Promise<NetworkPanel> {
    const panel = new NetworkPanel()
    await panel.refresh()
    return panel
  }

  /** The proxy knows what it blocks: it forgets when it starts again, and another tab of this visitor may have told it otherwise. */
  async refresh(): Promise<void> {
    const touches = this.#touches
    if (this.#sending > 0) return
    try {
      const response = await fetch('/demo/network')
      const network = (await response.json()) as Record<string, boolean>
      // Boxes that the visitor changed meanwhile are newer than this answer.
      if (!response.ok || touches !== this.#touches) return
      for (const box of this.#boxes) box.checked = network[box.dataset['block'] ?? ''] === false
    } catch {
      // The server is down; the page stays as it is.
    }
  }

  show({ state, transport, reason }: ClientStatus): void {
    this.#root.dataset['state'] = state
    find('[data-testid="transport"]').textContent =
      transport === null ? (state === 'connecting' ? 'Connecting …' : 'Not needed') : (carriers[transport] ?? transport)
    find('[data-testid="reason"]').textContent = reason === null ? '' : (reasons[reason] ?? `because: ${reason}`)
    for (const rung of this.#root.querySelectorAll<HTMLElement>('[data-rung]'))
      rung.classList.toggle('on', rung.dataset['rung'] === transport)
  }

  async #block(): Promise<void> {
    this.#touches += 1
    this.#sending += 1
    const network = Object.fromEntries(this.#boxes.map((box) => [box.dataset['block'] ?? '', !box.checked]))
    // If it fails, the next refresh shows the real state.
    await post('/demo/network', network).catch(() => {})
    this.#sending -= 1
  }
}
