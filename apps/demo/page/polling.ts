import { endpoints, pollEveryMs, type Board, type Chat, type Notifications, type Order, type Prices } from './data.ts'
import type { Meter } from './meter.ts'
import type { Side } from './side.ts'

/** The product as it was: a loop for each part of the page. @returns what opens an order's page. */
export function startPolling(side: Side, meter: Meter): (id: number) => void {
  loop<Board>(endpoints.board, (board) => side.showBoard(board))
  loop<Prices>(endpoints.prices, (prices) => side.showPrices(prices))
  loop<Notifications>(endpoints.notifications, (notifications) => side.showNotifications(notifications))
  loop<Chat>(endpoints.chat, (chat) => side.showChat(chat))

  let leave = (): void => {}
  return (id) => {
    leave()
    leave = loop<Order>(
      endpoints.order(id),
      (order) => side.showOrder(order),
      () => side.showGone(id),
    )
  }

  function loop<T>(url: string, show: (value: T) => void, showGone = (): void => {}): () => void {
    let isOpen = true
    const poll = async (): Promise<void> => {
      meter.request()
      try {
        const response = await fetch(url)
        if (response.status === 404 && isOpen) showGone()
        if (!response.ok) return
        const value = (await response.json()) as T
        if (isOpen) show(value)
      } catch {
        // The next poll may work.
      }
    }
    const timer = setInterval(() => void poll(), pollEveryMs)
    void poll()
    return () => {
      isOpen = false
      clearInterval(timer)
    }
  }
}
