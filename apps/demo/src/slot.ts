import { createHash } from 'node:crypto'

const base = 'crossfade_demo'
const maxLength = 63

/**
 * The name of the demo's replication slot, and of its publication. Slots belong to the server, not to one of its databases: each needs its
 * own name. `postgres`, the database of the demo's own server, has the one that it always had. A name that had to be changed for a slot ends with its hash,
 * so that no two are one.
 */
export function slotFor(database: string): string {
  if (database === 'postgres') return base
  const plain = `${base}_${database.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_')}`
  if (plain === `${base}_${database}` && plain.length <= maxLength) return plain
  const hash = createHash('sha256').update(database).digest('hex').slice(0, 8)
  return `${plain.slice(0, maxLength - hash.length - 1)}_${hash}`
}
