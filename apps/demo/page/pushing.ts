import { createClient } from '@crossfade/client'
import {
  chatLimit,
  endpoints,
  pollEveryMs,
  type Board,
  type Chat,
  type Message,
  type Notifications,
  type Order,
  type Prices,
} from './data.ts'
import type { Faders } from './faders.ts'
import type { Meter } from './meter.ts'
import type { NetworkPanel } from './network.ts'
import type { Side } from './side.ts'

/** The same product on Crossfade: `watch()` in place of each loop. @returns what opens an order's page. */
export function startPushing(side: Side, meter: Meter, faders: Faders, network: NetworkPanel): (id: number) => void {
  const crossfade = createClient()
  crossfade.on('request', () => meter.request())
  crossfade.on('status', (status) => network.show(status))
  crossfade.on('stage', (setting) => faders.show(setting))
  network.show(crossfade.status)

  const every = pollEveryMs
  let leave = (): void => {}
  faders.follow({
    'order-board': crossfade.watch<Board>(endpoints.board, { every }, (board) => side.showBoard(board)),
    prices: crossfade.watch<Prices>(endpoints.prices, { every }, (prices) => side.showPrices(prices)),
    notifications: crossfade.watch<Notifications>(endpoints.notifications, { every }, (notifications) =>
      side.showNotifications(notifications),
    ),
    chat: crossfade.watch<Chat>(endpoints.chat, { every, append: withMessage }, (chat) => side.showChat(chat)),
  })
  return (id) => {
    leave()
    const order = crossfade.watch<Order | null>(endpoints.order(id), { every, read: orderOf }, (value) =>
      value === null ? side.showGone(id) : side.showOrder(value),
    )
    faders.follow({ 'order-page': order })
    leave = () => order.stop()
  }
}

/** `null`: there is no such order, or no longer. */
async function orderOf(response: Response): Promise<Order | null> {
  if (response.status === 404) return null
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}`)
  return (await response.json()) as Order
}

/** What the endpoint would answer with one more message: by id, and no more than asked for. One that is already in the list changes nothing. */
function withMessage(chat: Chat, event: { data: unknown }): Chat {
  const message = event.data as Message
  if (chat.messages.some(({ id }) => id === message.id)) return chat
  return { messages: [...chat.messages, message].toSorted((a, b) => a.id - b.id).slice(-chatLimit) }
}
