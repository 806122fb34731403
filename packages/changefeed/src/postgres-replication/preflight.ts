import { CrossfadeError } from '@crossfade/protocol'
import type { ClientBase } from 'pg'

/** The first version in which a heartbeat can travel through the log without a table. */
const oldestVersion = 14
/** From this version on the server raises the level by itself when the first logical slot is created. */
const selfRaisingVersion = 19

/**
 * Checks what concerns the whole server: version, settings, and the right to replicate. The feed does so at its start; an application may ask
 * before it does anything else to the database.
 *
 * @param client connected.
 * @throws CrossfadeError `feed_not_logical`, `feed_forbidden`
 */
export async function requireServer(client: ClientBase): Promise<void> {
  const { rows } = await client.query<{ level: string; version: number; slots: number; senders: number }>(
    `SELECT current_setting('wal_level') AS level, current_setting('server_version_num')::int / 10000 AS version,
       current_setting('max_replication_slots')::int AS slots, current_setting('max_wal_senders')::int AS senders`,
  )
  const { level = 'unknown', version = 0, slots = 0, senders = 0 } = rows[0] ?? {}
  if (version < oldestVersion) {
    throw new CrossfadeError(
      'feed_not_logical',
      `The database is PostgreSQL ${version}; postgres-replication needs ${oldestVersion} or newer. Upgrade it.`,
    )
  }
  if (level !== 'logical' && !(version >= selfRaisingVersion && level === 'replica')) {
    throw new CrossfadeError(
      'feed_not_logical',
      `The database has wal_level=${level}, but following its changes needs wal_level=logical. Run ALTER SYSTEM SET wal_level = logical and restart it; on a managed database set rds.logical_replication=1 (Amazon RDS), cloudsql.logical_decoding=on (Cloud SQL), or wal_level in the server's parameters (Azure).`,
    )
  }
  for (const [setting, value] of Object.entries({ max_replication_slots: slots, max_wal_senders: senders })) {
    if (value > 0) continue
    throw new CrossfadeError(
      'feed_not_logical',
      `The database has ${setting}=0, but following its changes takes one. Run ALTER SYSTEM SET ${setting} = 10 and restart it.`,
    )
  }
  await requireReplicationRight(client)
}

async function requireReplicationRight(client: ClientBase): Promise<void> {
  const { rows } = await client.query<{ name: string; allowed: boolean }>(
    `SELECT rolname AS name, rolreplication OR rolsuper OR EXISTS (
       SELECT FROM pg_roles AS given WHERE given.rolname = 'rds_replication' AND pg_has_role(pg_roles.oid, given.oid, 'MEMBER')
     ) AS allowed FROM pg_roles WHERE rolname = current_user`,
  )
  if (rows[0]?.allowed === true) return
  const name = rows[0]?.name ?? 'the user'
  throw new CrossfadeError(
    'feed_forbidden',
    `The user ${name} may not replicate. Run ALTER ROLE ${name} REPLICATION (on Amazon RDS: GRANT rds_replication TO ${name}).`,
  )
}
