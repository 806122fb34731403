import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { exists, isAlive } from './processes.ts'

const patienceMs = 12_000

/**
 * Ends a server that an earlier, killed process left on this data folder, and takes away a lock whose process id belongs to another process now, or a
 * zombie: after kill −9 of everything the next start must work, and PostgreSQL would think that its server lives. A lock whose process is gone
 * stays: it says where the shared memory is, by which PostgreSQL sees whether children of a killed server still write.
 */
export async function endPreviousServer(dataFolder: string): Promise<void> {
  const lock = join(dataFolder, 'postmaster.pid')
  if (!existsSync(lock)) return
  const pid = Number(readFileSync(lock, 'utf8').split('\n')[0])
  const isNumber = Number.isInteger(pid) && pid > 1
  if (isNumber && serves(pid, dataFolder)) await endServer(pid, dataFolder)
  if (!isNumber || (exists(pid) && !serves(pid, dataFolder))) rmSync(lock, { force: true })
}

async function endServer(pid: number, dataFolder: string): Promise<void> {
  signal(pid, 'SIGINT')
  for (const until = performance.now() + patienceMs; performance.now() < until;) {
    if (!serves(pid, dataFolder)) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  signal(pid, 'SIGQUIT')
  await new Promise((resolve) => setTimeout(resolve, 500))
}

/** Whether this process is a living server of this data folder, not another process that got its id. */
function serves(pid: number, dataFolder: string): boolean {
  if (!isAlive(pid)) return false
  if (!existsSync('/proc/self/cmdline')) return true
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(dataFolder)
  } catch {
    return false
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It ended meanwhile.
  }
}
