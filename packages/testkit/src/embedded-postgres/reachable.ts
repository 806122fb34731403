import { createHash } from 'node:crypto'
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { Binaries } from './binaries.ts'

/** PostgreSQL refuses to run as root; then it runs as `nobody`, whose id is the same on every Unix. */
export interface ServerUser {
  readonly uid?: number
  readonly gid?: number
}

const nobody = 65_534

/** Under which user the server runs: ours, unless we are root. */
export function serverUser(): ServerUser {
  return process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {}
}

/** Makes a folder that the server's user can enter and write. @returns where it is: elsewhere when a parent keeps that user out. */
export function reachableFolder(folder: string, user: ServerUser): string {
  const place = canEnter(dirname(resolve(folder)), user)
    ? resolve(folder)
    : join(privateRoot(user), hash(resolve(folder)))
  mkdirSync(place, { recursive: true })
  if (user.uid !== undefined && user.gid !== undefined) {
    chownSync(place, user.uid, user.gid)
    chmodSync(place, 0o700)
  }
  return place
}

/** The programs where the server's user can run them: a copy when a parent folder keeps that user out, as in a clone below `mktemp -d`. */
export function reachableBinaries(binaries: Binaries, user: ServerUser): Binaries {
  if (canEnter(dirname(binaries.postgres), user)) return binaries
  const native = dirname(dirname(binaries.postgres))
  const copy = join(privateRoot(user), `postgres-${hash(`${native} ${statSync(binaries.postgres).mtimeMs}`)}`)
  if (!existsSync(copy)) {
    const half = `${copy}.${process.pid}`
    cpSync(native, half, { recursive: true, verbatimSymlinks: true })
    try {
      renameSync(half, copy)
    } catch {
      // Another process was first.
      rmSync(half, { recursive: true, force: true })
    }
  }
  return { initdb: join(copy, 'bin/initdb'), postgres: join(copy, 'bin/postgres') }
}

function canEnter(folder: string, user: ServerUser): boolean {
  if (user.uid === undefined) return true
  for (let at = resolve(folder); ; at = dirname(at)) {
    if (existsSync(at)) {
      const { mode, uid } = statSync(at)
      if ((mode & 0o001) === 0 && uid !== user.uid) return false
    }
    if (at === dirname(at)) return true
  }
}

function privateRoot(user: ServerUser): string {
  const root = join(tmpdir(), `crossfade-${user.uid ?? process.getuid?.() ?? 'user'}`)
  mkdirSync(root, { recursive: true, mode: 0o755 })
  return root
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}
