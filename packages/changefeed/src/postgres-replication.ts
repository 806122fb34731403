/**
 * The reference adapter: PostgreSQL's logical replication.
 *
 * @module
 */
export { postgresReplication, type PostgresReplicationOptions } from './postgres-replication/feed.ts'
export { requireServer } from './postgres-replication/preflight.ts'
export type { FeedLogger } from './postgres-replication/feed-logger.ts'
