import type { Board, Chat, Message, Notifications, Order, Prices } from './data.ts'
import { element, fill } from './element.ts'
import type { Meter } from './meter.ts'

/** One half of the page: shows what it is given, however it came. */
export class Side {
  readonly #meter: Meter
  readonly #board = element('table', { class: 'board' })
  readonly #ticker = element('div', { class: 'ticker' })
  readonly #badge = element('span', { class: 'badge' }, '0')
  readonly #notifications = element('ul', { class: 'list' })
  readonly #chat = element('ul', { class: 'list chat' })
  #orders = new Map<number, Order>()
  #prices: Record<string, number> = {}

  constructor(root: HTMLElement, meter: Meter) {
    this.#meter = meter
    root.append(
      card('Order board', this.#board),
      element(
        'div',
        { class: 'pair' },
        card('Prices', this.#ticker),
        card(['Notifications', this.#badge], this.#notifications),
      ),
      card('Chat #general', this.#chat),
    )
  }

  showBoard({ orders }: Board): void {
    const before = this.#orders
    this.#orders = new Map(orders.map((order) => [order.id, order]))
    fill(
      this.#board,
      orders.map((order) => this.#row(order, before.get(order.id))),
    )
    if (before.size === 0) return
    for (const order of orders) {
      const known = before.get(order.id)
      if (known === undefined || known.version !== order.version)
        this.#meter.delay(Date.now() - Date.parse(order.updatedAt))
    }
  }

  showPrices({ prices }: Prices): void {
    const before = this.#prices
    this.#prices = prices
    const rows = Object.entries(prices).map(([symbol, price]) => {
      const moved = price - (before[symbol] ?? price)
      const direction = moved > 0 ? 'up' : moved < 0 ? 'down' : ''
      return element('div', {}, element('span', {}, symbol), element('span', { class: direction }, price.toFixed(2)))
    })
    fill(this.#ticker, rows)
  }

  showNotifications({ unread, latest }: Notifications): void {
    this.#badge.textContent = String(unread)
    const items = latest
      .slice(0, 4)
      .map((notification) => element('li', { class: notification.readAt === null ? '' : 'read' }, notification.text))
    fill(this.#notifications, items.length > 0 ? items : [element('li', { class: 'empty' }, 'Nothing yet.')])
  }

  showChat({ messages }: Chat): void {
    fill(this.#chat, messages.map(line))
  }

  #row(order: Order, known: Order | undefined): HTMLElement {
    const isNews = known !== undefined && known.version !== order.version
    const next = order.status === 'new' ? 'packing' : order.status === 'packing' ? 'shipped' : 'done'
    const status = element('button', { class: 'status', type: 'button', title: `Set to ${next}` }, order.status)
    status.addEventListener('click', () => void advance(order.id, next))
    return element(
      'tr',
      { 'data-testid': `order-${order.id}`, 'data-version': String(order.version), class: isNews ? 'fresh' : '' },
      element('td', {}, `#${order.id}`),
      element('td', {}, order.item),
      element('td', {}, `× ${order.quantity}`),
      element('td', {}, status),
    )
  }
}

async function advance(id: number, status: string): Promise<void> {
  await fetch(`/api/orders/${id}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ status }),
  })
}

function line(message: Message): HTMLElement {
  return element(
    'li',
    { 'data-testid': `message-${message.id}` },
    element('b', {}, message.author),
    element('span', {}, message.text),
  )
}

function card(title: string | (string | HTMLElement)[], body: HTMLElement): HTMLElement {
  return element('div', { class: 'card' }, element('h3', {}, ...(typeof title === 'string' ? [title] : title)), body)
}
