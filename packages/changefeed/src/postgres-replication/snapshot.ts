/** What `pg_current_snapshot()` says: which transactions a statement begun now would see. */
export interface Snapshot {
  readonly xmin: bigint
  readonly xmax: bigint
  readonly inProgress: ReadonlySet<bigint>
}

/** Reads the form `xmin:xmax:xip,xip`. */
export function parseSnapshot(text: string): Snapshot {
  const [xmin = '0', xmax = '0', list = ''] = text.split(':')
  return {
    xmin: BigInt(xmin),
    xmax: BigInt(xmax),
    inProgress: new Set(list === '' ? [] : list.split(',').map(BigInt)),
  }
}

/**
 * Whether a committed transaction is visible.
 *
 * @param xid the 32 bits that the replication stream sends; the snapshot's epoch completes them.
 */
export function isVisible(xid: number, snapshot: Snapshot): boolean {
  const full = fullXid(xid, snapshot.xmax)
  if (full < snapshot.xmin) return true
  return full < snapshot.xmax && !snapshot.inProgress.has(full)
}

/** The 64-bit id nearest to `near` whose lower half this is. */
function fullXid(xid: number, near: bigint): bigint {
  const epoch = near & ~0xffffffffn
  const full = epoch | BigInt(xid)
  if (full > near + 0x80000000n) return full - 0x100000000n
  if (full + 0x80000000n < near) return full + 0x100000000n
  return full
}
