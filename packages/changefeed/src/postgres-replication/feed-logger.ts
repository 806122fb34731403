/** What a feed tells its operator. */
export interface FeedLogger {
  info(message: string): void
  warn(message: string): void
}
