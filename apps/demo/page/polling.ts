import { endpoints, pollEveryMs, type Board, type Chat, type Notifications, type Prices } from './data.ts'
import type { Meter } from './meter.ts'
import type { Side } from './side.ts'

/** The product as it was: a loop for each part of the page. */
export function startPolling(side: Side, meter: Meter): void {
  loop<Board>(endpoints.board, (board) => side.showBoard(board))
  loop<Prices>(endpoints.prices, (prices) => side.showPrices(prices))
  loop<Notifications>(endpoints.notifications, (notifications) => side.showNotifications(notifications))
  loop<Chat>(endpoints.chat, (chat) => side.showChat(chat))

  function loop<T>(url: string, show: (value: T) => void): void {
    const poll = async (): Promise<void> => {
      meter.request()
      try {
        const response = await fetch(url)
        if (response.ok) show((await response.json()) as T)
      } catch {
        // The next poll may work.
      }
    }
    setInterval(() => void poll(), pollEveryMs)
    void poll()
  }
}
