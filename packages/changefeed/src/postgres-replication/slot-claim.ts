import { setTimeout as pause } from 'node:timers/promises'
import { CrossfadeError } from '@crossfade/protocol'
import type { Client } from 'pg'

/** The first key of our advisory locks; the second is the slot's hash. */
const lockClass = 0x63_66_73_6c
/** How often a feed checks whether the slot is free, ms. */
const lookMs = 200
const standbyLookMs = 250

/** How a feed waits for its slot. */
export interface ClaimOptions {
  /** Stand by for as long as it takes, instead of giving up after `waitMs`. */
  readonly standby: boolean
  readonly waitMs: number
  readonly stopping: AbortSignal
  /** Called once when another process holds the slot. */
  readonly onHeld: (holder: string) => void
}

/**
 * Waits until the slot is this feed's to set up and to stream. Nothing is changed before: a new process must not touch what the running
 * process needs.
 *
 * The claim is a lock of the client's session. It keeps two new processes from setting up at the same time; from the start of the stream on, the
 * slot itself keeps others away. It ends with {@link releaseSlot}, or with the connection.
 *
 * @throws CrossfadeError `feed_slot_in_use` after `waitMs`; and whatever the client throws when its connection is lost.
 */
export async function claimSlot(client: Client, slot: string, options: ClaimOptions): Promise<void> {
  const { standby, waitMs, stopping, onHeld } = options
  let isTold = false
  for (const until = performance.now() + waitMs; !(await tryClaim(client, slot));) {
    const holder = await holderOf(client, slot)
    if (!isTold) onHeld(holder)
    isTold = true
    if (!standby && performance.now() >= until) throw slotInUse(slot, holder)
    await pause(standby ? standbyLookMs : lookMs, undefined, { signal: stopping })
  }
}

/** Releases the lock: the stream is running. */
export async function releaseSlot(client: Client, slot: string): Promise<void> {
  await client.query('SELECT pg_advisory_unlock($1, hashtext($2))', [lockClass, slot])
}

async function tryClaim(client: Client, slot: string): Promise<boolean> {
  const { rows } = await client.query<{ locked: boolean }>('SELECT pg_try_advisory_lock($1, hashtext($2)) AS locked', [
    lockClass,
    slot,
  ])
  if (rows[0]?.locked !== true) return false
  const isFree = (await activePid(client, slot)) === null
  if (!isFree) await releaseSlot(client, slot)
  return isFree
}

async function activePid(client: Client, slot: string): Promise<number | null> {
  const { rows } = await client.query<{ pid: number | null }>(
    'SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1',
    [slot],
  )
  return rows[0]?.pid ?? null
}

async function holderOf(client: Client, slot: string): Promise<string> {
  const pid = await activePid(client, slot)
  return pid === null ? 'it is setting up' : `replication slot "${slot}" is active for PID ${pid}`
}

/** The error of a feed that may not stand by. */
export function slotInUse(slot: string, holder: string, cause?: unknown): CrossfadeError {
  return new CrossfadeError(
    'feed_slot_in_use',
    `Another process follows the replication slot "${slot}" (${holder}). Stop it, or give this one another slot; two processes that share one feed need a shared broker.`,
    cause === undefined ? {} : { cause },
  )
}
