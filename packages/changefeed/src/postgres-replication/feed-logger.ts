/** What a feed tells its operator; pino and `console` fit. */
export interface FeedLogger {
  info(message: string): void
  warn(message: string): void
  error(message: string): void
}
