import { existsSync, readFileSync } from 'node:fs'

/** Whether there is a process with this id, even a zombie. */
export function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it lives, and belongs to another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Whether a process lives: neither gone nor a zombie. */
export function isAlive(pid: number): boolean {
  if (!exists(pid)) return false
  if (!existsSync('/proc/self/stat')) return true
  const state = statOf(pid)?.[0]
  return state !== undefined && state !== 'Z' && state !== 'X'
}

/** When a process began, in the system's own count: distinguishes it from a later one with the same id. `null` where the system does not say. */
export function beginningOf(pid: number): string | null {
  return statOf(pid)?.[19] ?? null
}

/** What `/proc/<pid>/stat` says behind the name: the state first, the time of the start as the twentieth (proc(5)). */
function statOf(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return null
  }
}
