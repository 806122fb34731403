/**
 * What a change feed is, and the feed for tests. Adapters and typed rules are subpaths: `/postgres-replication`, `/drizzle`.
 *
 * @module
 */
export { unsent, type ChangeBatch, type Operation, type Position, type Row, type RowChange } from './change.ts'
export type { ChangeFeed, FeedStart, FeedState, FeedStatus, WatchedTable } from './change-feed.ts'
export { MemoryFeed } from './memory-feed.ts'
export { canonicalId } from './id-form.ts'
export { touched, type ChangeRule, type IdForm, type ParameterColumn, type TopicParams } from './rule.ts'
export { isSourceFailure } from './source-failure.ts'
