/** What the product's endpoints answer. */
export interface Order {
  id: number
  item: string
  quantity: number
  status: string
  version: number
  /** `null`: what JSON has no time for, such as PostgreSQL's `infinity`. */
  updatedAt: string | null
}
export interface Board {
  orders: Order[]
}
export interface Notifications {
  unread: number
  latest: { id: number; text: string; readAt: string | null; createdAt: string | null }[]
}
export interface Message {
  id: number
  author: string
  text: string
  at: string | null
}
export interface Chat {
  messages: Message[]
}
export interface Prices {
  /** `null`: what JSON has no number for, such as NaN. */
  prices: Record<string, number | null>
}

/** Messages that the chat shows. */
export const chatLimit = 6

/** The endpoints that the page shows, and the features that they belong to. */
export const endpoints = {
  board: '/api/orders',
  order: (id: number) => `/api/orders/${id}`,
  notifications: '/api/notifications',
  chat: `/api/rooms/general/messages?limit=${chatLimit}`,
  prices: '/api/prices',
} as const

export const pollEveryMs = 5_000
