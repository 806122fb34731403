import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
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

/** A path for a folder that the server's user can enter and write: elsewhere when a parent keeps that user out. */
export function reachablePlace(folder: string, user: ServerUser): string {
  const wanted = resolve(folder)
  return canEnter(dirname(wanted), user) ? wanted : join(privateRoot(user), hash(wanted))
}

/**
 * Makes the folder at its place. Where that is elsewhere, the folder asked for becomes a link to it; what is there without such a link
 * belongs to a folder that was removed, and goes, too.
 */
export function makeReachable(folder: string, actual: string, user: ServerUser): void {
  const wanted = resolve(folder)
  if (actual !== wanted && linkTarget(wanted) !== actual) {
    rmSync(actual, { recursive: true, force: true })
    makeRoom(wanted)
    symlinkSync(actual, wanted)
  }
  makeOwned(actual, user)
}

/** @throws Error when there is data, which only its owner may remove. */
function makeRoom(wanted: string): void {
  mkdirSync(dirname(wanted), { recursive: true })
  if (linkTarget(wanted) !== null) return rmSync(wanted)
  if (!existsSync(wanted)) return
  if (readdirSync(wanted).length > 0) {
    throw new Error(
      `The user of the database server cannot enter the folders above ${wanted}, though data is there. Run chmod o+x on them, or use another folder.`,
    )
  }
  rmdirSync(wanted)
}

/** Creates a folder that belongs to the server's user alone. */
export function makeOwned(actual: string, user: ServerUser): void {
  mkdirSync(actual, { recursive: true })
  if (user.uid === undefined || user.gid === undefined) return
  chownSync(actual, user.uid, user.gid)
  chmodSync(actual, 0o700)
}

function linkTarget(path: string): string | null {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : null
  } catch {
    return null
  }
}

/** The programs at a path where the server's user can run them: a copy when a parent folder keeps that user out, as in a clone below `mktemp -d`. */
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
