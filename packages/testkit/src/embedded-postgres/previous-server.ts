import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isAlive } from './processes.ts'

const patienceMs = 12_000

/**
 * Ends a server that an earlier, killed process left on this data folder, and takes away a lock that nobody holds: after kill −9 of
 * everything the next start must work.
 */
export async function endPreviousServer(dataFolder: string): Promise<void> {
  const lock = join(dataFolder, 'postmaster.pid')
  if (!existsSync(lock)) return
  const pid = Number(readFileSync(lock, 'utf8').split('\n')[0])
  if (Number.isInteger(pid) && pid > 1 && serves(pid, dataFolder)) await endServer(pid, dataFolder)
  rmSync(lock, { force: true })
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

/** Whether this process is a living server of this data folder, not somebody else who got its number. */
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
