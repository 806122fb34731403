/**
 * Rules typed by Drizzle tables: which changes touch which topics.
 *
 * @module
 */
export { changes, deletes, inserts, rewrites, updates, type RuleOptions } from './drizzle/rules.ts'
