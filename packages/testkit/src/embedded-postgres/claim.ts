import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { beginningOf, isAlive } from './processes.ts'

/** Who uses a data folder. */
interface Owner {
  readonly pid: number
  readonly beginning: string | null
}

/**
 * Claims a data folder for this process, so that a second one does not end the server of the first.
 *
 * @returns gives the claim up. A claim whose process is gone counts for nothing.
 * @throws Error when another living process has it.
 */
export function claim(dataFolder: string): () => void {
  const file = `${dataFolder}.owner`
  const own: Owner = { pid: process.pid, beginning: beginningOf(process.pid) }
  mkdirSync(dirname(file), { recursive: true })
  for (let attempt = 0; ; attempt += 1) {
    try {
      writeFileSync(file, JSON.stringify(own), { flag: 'wx' })
      return () => rmSync(file, { force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt > 3) throw error
      const owner = readOwner(file)
      if (owner !== null && owner.pid !== own.pid && isAlive(owner.pid) && beginningOf(owner.pid) === owner.beginning) {
        throw new Error(
          `the process ${owner.pid} already runs a database on ${dataFolder}. Stop it, or use another folder.`,
          { cause: error },
        )
      }
      rmSync(file, { force: true })
    }
  }
}

function readOwner(file: string): Owner | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Owner
  } catch {
    return null
  }
}
