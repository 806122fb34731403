import type { Board, Chat, Message, Notifications, Order, Prices } from './data.ts'
import { element, fill } from './element.ts'
import type { Meter } from './meter.ts'
import { post } from './post.ts'
import { direction, shownPrice, shownText, shownTime } from './shown.ts'

/** One half of the page: shows what it is given, however it came. */
export class Side {
  readonly #meter: Meter
  readonly #open: (id: number, isChosen: boolean) => void
  readonly #board = element('table', { class: 'board' })
  readonly #order = element('div', { class: 'order', 'data-testid': 'order-page' })
  readonly #ticker = element('div', { class: 'ticker' })
  readonly #badge = element('span', { class: 'badge' }, '0')
  readonly #notifications = element('ul', { class: 'list' })
  readonly #chat = element('ul', { class: 'list chat' })
  #orders = new Map<number, Order>()
  #prices: Prices['prices'] = {}

  /** @param open opens an order's page; not chosen: the first one there is. */
  constructor(root: HTMLElement, meter: Meter, open: (id: number, isChosen: boolean) => void) {
    this.#meter = meter
    this.#open = open
    root.append(
      card('Order board', this.#board),
      card('Order page', this.#order),
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
    const first = orders[0]
    if (first !== undefined) this.#open(first.id, false)
    if (before.size === 0) return
    for (const order of orders) {
      const known = before.get(order.id)
      if (known === undefined || known.version !== order.version)
        this.#meter.delay(Date.now() - Date.parse(order.updatedAt ?? ''))
    }
  }

  showOrder({ id, item, quantity, status, version, updatedAt }: Order): void {
    const isNews = this.#order.dataset['order'] === String(id) && this.#order.dataset['version'] !== String(version)
    Object.assign(this.#order.dataset, { order: String(id), version: String(version) })
    const line = element(
      'p',
      { class: isNews ? 'fresh' : '' },
      element('b', {}, `#${id} ${shownText(item)}`),
      element('span', {}, `× ${quantity}`),
      element('span', { class: 'status' }, shownText(status)),
      element('small', {}, `version ${version}, ${shownTime(updatedAt)}`),
    )
    fill(this.#order, [line])
  }

  /** The order whose page is open was deleted. */
  showGone(id: number): void {
    Object.assign(this.#order.dataset, { order: String(id), version: 'gone' })
    const line = element(
      'p',
      { class: 'gone' },
      element('b', {}, `#${id}`),
      element('span', { class: 'status' }, 'gone'),
      element('small', {}, 'It was deleted. Open another one.'),
    )
    fill(this.#order, [line])
  }

  showPrices({ prices }: Prices): void {
    const before = this.#prices
    this.#prices = prices
    const rows = Object.entries(prices).map(([symbol, price]) => {
      const moved = direction(before[symbol], price)
      const tone = moved > 0 ? 'up' : moved < 0 ? 'down' : ''
      return element(
        'div',
        { 'data-testid': `price-${symbol}` },
        element('span', {}, shownText(symbol)),
        element('span', { class: tone }, shownPrice(price)),
      )
    })
    fill(this.#ticker, rows)
  }

  showNotifications({ unread, latest }: Notifications): void {
    this.#badge.textContent = String(unread)
    const items = latest.slice(0, 4).map(entry)
    fill(this.#notifications, items.length > 0 ? items : [element('li', { class: 'empty' }, 'Nothing yet.')])
  }

  showChat({ messages }: Chat): void {
    fill(this.#chat, messages.map(line))
  }

  #row(order: Order, known: Order | undefined): HTMLElement {
    const isNews = known !== undefined && known.version !== order.version
    const next = order.status === 'new' ? 'packing' : order.status === 'packing' ? 'shipped' : 'done'
    const status = element(
      'button',
      { class: 'status', type: 'button', title: `Set to ${next}` },
      shownText(order.status),
    )
    status.addEventListener('click', () => void advance(order.id, next))
    const link = element('button', { class: 'link', type: 'button', title: 'Open its page' }, shownText(order.item))
    link.addEventListener('click', () => this.#open(order.id, true))
    return element(
      'tr',
      { 'data-testid': `order-${order.id}`, 'data-version': String(order.version), class: isNews ? 'fresh' : '' },
      element('td', {}, `#${order.id}`),
      element('td', {}, link),
      element('td', {}, `× ${order.quantity}`),
      element('td', {}, status),
    )
  }
}

async function advance(id: number, status: string): Promise<void> {
  await post(`/api/orders/${id}`, { status }, 'PATCH').catch(() => {})
}

function entry({ id, text, readAt }: Notifications['latest'][number]): HTMLElement {
  const words = element('span', {}, shownText(text))
  if (readAt !== null) return element('li', { class: 'read' }, words)
  const title = 'Mark as read'
  const button = element('button', { class: 'mark', type: 'button', title, 'aria-label': title }, '✓')
  button.addEventListener('click', () => void post(`/api/notifications/${id}/read`).catch(() => {}))
  return element('li', {}, words, button)
}

function line(message: Message): HTMLElement {
  return element(
    'li',
    { 'data-testid': `message-${message.id}` },
    element('b', {}, shownText(message.author)),
    element('span', {}, shownText(message.text)),
  )
}

function card(title: string | (string | HTMLElement)[], body: HTMLElement): HTMLElement {
  return element('div', { class: 'card' }, element('h3', {}, ...(typeof title === 'string' ? [title] : title)), body)
}
