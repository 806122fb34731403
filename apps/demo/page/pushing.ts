import { createClient } from '@crossfade/client'
import { endpoints, pollEveryMs, type Board, type Chat, type Message, type Notifications, type Prices } from './data.ts'
import type { Faders } from './faders.ts'
import type { Meter } from './meter.ts'
import type { NetworkPanel } from './network.ts'
import type { Side } from './side.ts'

const features: Record<string, string> = {
  [endpoints.board]: 'order-board',
  [endpoints.prices]: 'prices',
  [endpoints.notifications]: 'notifications',
  [endpoints.chat]: 'chat',
}

/** The same product on Crossfade: `watch()` in place of each loop. */
export function startPushing(side: Side, meter: Meter, faders: Faders, network: NetworkPanel): void {
  const crossfade = createClient()
  crossfade.on('request', () => meter.request())
  crossfade.on('status', (status) => network.show(status))
  crossfade.on('stage', ({ feature, stage }) => faders.show(feature, stage))
  crossfade.on('parity', ({ url, parity }) => faders.parity(features[url] ?? '', parity))
  network.show(crossfade.status)

  crossfade.watch<Board>(endpoints.board, { every: pollEveryMs }, (board) => side.showBoard(board))
  crossfade.watch<Prices>(endpoints.prices, { every: pollEveryMs }, (prices) => side.showPrices(prices))
  crossfade.watch<Notifications>(endpoints.notifications, { every: pollEveryMs }, (notifications) =>
    side.showNotifications(notifications),
  )
  crossfade.watch<Chat>(endpoints.chat, { every: pollEveryMs, append: withMessage }, (chat) => side.showChat(chat))
}

/** The list with one more message; one that the list had already changes nothing. */
function withMessage(chat: Chat, event: { data: unknown }): Chat {
  const message = event.data as Message
  return chat.messages.some(({ id }) => id === message.id) ? chat : { messages: [...chat.messages, message] }
}
