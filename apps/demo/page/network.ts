import type { ClientStatus } from '@crossfade/client'
import { find } from './element.ts'

const carriers: Record<string, string> = {
  websocket: 'WebSocket',
  sse: 'Server-Sent Events',
  longpoll: 'Long poll',
  shortpoll: 'Short poll',
  endpoint: 'Its own endpoint',
}

const reasons: Record<string, string> = {
  'ws-blocked': 'because WebSocket is blocked here',
  'ws-silent': 'because the WebSocket fell silent',
  'sse-blocked': 'because SSE is blocked here',
  'sse-buffered': 'because SSE is blocked here: something holds its bytes back',
  'poll-failed': 'because polls fail here',
  'server-down': 'because nothing of Crossfade answers',
  unstable: 'because connections die young here',
  auth: 'because the login was refused',
}

/** Shows what carries the page and why, and lets the visitor break the network. */
export class NetworkPanel {
  readonly #root = find('.network')

  private constructor(network: Record<string, boolean>) {
    for (const box of this.#root.querySelectorAll<HTMLInputElement>('[data-block]')) {
      box.checked = network[box.dataset['block'] ?? ''] === false
      box.addEventListener('change', () => void this.#block())
    }
  }

  /** Gets this visitor's network, and the cookie by which the proxy knows whose connections to cut: before there are any. */
  static async open(): Promise<NetworkPanel> {
    return new NetworkPanel((await (await fetch('/demo/network')).json()) as Record<string, boolean>)
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
    const boxes = [...this.#root.querySelectorAll<HTMLInputElement>('[data-block]')]
    const network = Object.fromEntries(boxes.map((box) => [box.dataset['block'] ?? '', !box.checked]))
    await fetch('/demo/network', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(network),
    })
  }
}
