/**
 * The reference adapter: PostgreSQL's logical replication.
 *
 * @module
 */
export { postgresReplication } from './postgres-replication/feed.ts'
export type { PostgresReplicationOptions } from './postgres-replication/feed-options.ts'
export { requireServer } from './postgres-replication/preflight.ts'
export type { FeedLogger } from './postgres-replication/feed-logger.ts'
