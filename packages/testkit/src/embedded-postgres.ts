/**
 * A real PostgreSQL from npm: nothing to install, works as root and as any user.
 *
 * @module
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdtempSync, readdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { findBinaries, type Binaries } from './embedded-postgres/binaries.ts'
import { claim } from './embedded-postgres/claim.ts'
import { endPreviousServer } from './embedded-postgres/previous-server.ts'
import {
  makeOwned,
  makeReachable,
  reachableBinaries,
  reachablePlace,
  serverUser,
  type ServerUser,
} from './embedded-postgres/reachable.ts'

/** Options of {@link startEmbeddedPostgres}. */
export interface EmbeddedPostgresOptions {
  /** Where the data is kept. Default: a new folder that is removed at the end. */
  dataFolder?: string
  /** 0, the default, takes any free port. */
  port?: number
  /** Arguments of `postgres`, such as `['-c', 'wal_level=logical']`. */
  flags?: readonly string[]
}

/** A server that runs. */
export interface EmbeddedPostgres {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Where the data really is: elsewhere than asked when the server's user could not get there. */
  readonly dataFolder: string
  /** Resolves when the server is gone, whoever ended it, with its exit code or the signal that it died of. */
  readonly gone: Promise<number | NodeJS.Signals>
  /** Ends the server; bounded, and harmless when it is gone. */
  stop(): Promise<void>
  /** Kills it, as a power cut would. */
  kill(): void
}

const run = promisify(execFile)
const user = 'postgres'
const password = 'postgres'
const startMs = 20_000
const stopMs = 10_000
const childrenMs = 10_000

/**
 * Starts PostgreSQL on 127.0.0.1, in its own process group: signals for ours do not reach it.
 *
 * @throws Error with the server's own words when it does not start, or when another living process uses the data folder.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const runAs = serverUser()
  const binaries = reachableBinaries(await findBinaries(), runAs)
  const isTemporary = options.dataFolder === undefined
  const folder = options.dataFolder ?? mkdtempSync(join(tmpdir(), 'crossfade-postgres-'))
  const dataFolder = reachablePlace(folder, runAs)
  const release = claim(dataFolder)
  let port: number
  let child: ChildProcess
  let gone: Promise<number | NodeJS.Signals>
  try {
    port = options.port || (await freePort())
    await endPreviousServer(dataFolder)
    makeReachable(folder, dataFolder, runAs)
    if (!existsSync(join(dataFolder, 'PG_VERSION'))) await initialise(binaries, dataFolder, runAs)
    child = await patiently(() => launch(binaries, dataFolder, runAs, port, options.flags ?? []))
    gone = exitOf(child)
  } catch (error) {
    release()
    throw error
  }
  const interrupt = (): void => void child.kill('SIGINT')
  process.once('exit', interrupt)
  return {
    url: `postgres://${user}:${password}@127.0.0.1:${port}/postgres`,
    port,
    pid: child.pid ?? 0,
    dataFolder,
    gone,
    stop: async () => {
      process.off('exit', interrupt)
      await end(child)
      release()
      if (!isTemporary) return
      for (const path of new Set([folder, dataFolder])) rmSync(path, { recursive: true, force: true })
    },
    kill: () => {
      child.kill('SIGKILL')
      release()
    },
  }
}

/** A port of 127.0.0.1 that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Creates the data beside its folder and moves it there when it is complete: a start that was killed leaves nothing half done. */
async function initialise(binaries: Binaries, dataFolder: string, runAs: ServerUser): Promise<void> {
  for (const name of readdirSync(dirname(dataFolder))) {
    if (name.startsWith(`${basename(dataFolder)}.new-`))
      rmSync(join(dirname(dataFolder), name), { recursive: true, force: true })
  }
  const fresh = `${dataFolder}.new-${process.pid}`
  makeOwned(fresh, runAs)
  await initdb(binaries, fresh, runAs)
  rmdirSync(dataFolder)
  renameSync(fresh, dataFolder)
}

async function initdb(binaries: Binaries, dataFolder: string, runAs: ServerUser): Promise<void> {
  const passwordFile = `${dataFolder}-password`
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 })
  if (runAs.uid !== undefined && runAs.gid !== undefined) chownSync(passwordFile, runAs.uid, runAs.gid)
  try {
    await run(
      binaries.initdb,
      [
        '-D',
        dataFolder,
        '-U',
        user,
        '--auth=scram-sha-256',
        `--pwfile=${passwordFile}`,
        '--encoding=UTF8',
        '--locale=C',
        '--no-sync',
        '--no-instructions',
      ],
      { ...runAs, cwd: '/', env: { ...process.env, LC_ALL: 'C' } },
    )
  } catch (error) {
    throw new Error(`initdb failed in ${dataFolder}: ${(error as { stderr?: string }).stderr ?? String(error)}`, {
      cause: error,
    })
  } finally {
    rmSync(passwordFile, { force: true })
  }
}

/** Children of a server that was killed end by themselves, and until then PostgreSQL refuses their data. */
async function patiently(start: () => Promise<ChildProcess>): Promise<ChildProcess> {
  for (const until = performance.now() + childrenMs; ;) {
    try {
      return await start()
    } catch (error) {
      if (performance.now() > until || !String(error).includes('pre-existing shared memory block')) throw error
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
}

async function launch(
  binaries: Binaries,
  dataFolder: string,
  runAs: ServerUser,
  port: number,
  flags: readonly string[],
): Promise<ChildProcess> {
  const child = spawn(
    binaries.postgres,
    [
      '-D',
      dataFolder,
      '-p',
      String(port),
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      'unix_socket_directories=',
      '-c',
      'logging_collector=off',
      ...flags,
    ],
    { ...runAs, cwd: '/', env: { ...process.env, LC_ALL: 'C' }, detached: true, stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let words = ''
  await new Promise<void>((resolve, reject) => {
    const failed = (why: string): void =>
      reject(new Error(`PostgreSQL did not start in ${dataFolder}: ${why}\n${words.trim()}`))
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      failed(`it was not ready within ${startMs / 1000} s`)
    }, startMs)
    child.once('error', (error) => failed(error.message))
    child.once('exit', (code) => failed(`it ended with ${code}`))
    child.stderr?.on('data', (chunk: Buffer) => {
      words = (words + String(chunk)).slice(-4_000)
      if (!words.includes('ready to accept connections')) return
      clearTimeout(timer)
      resolve()
    })
  })
  // Its later output is ignored, but read: a full pipe would stop it.
  child.stderr?.removeAllListeners('data').resume()
  child.removeAllListeners('exit')
  child.unref()
  ;(child.stderr as unknown as { unref?: () => void } | null)?.unref?.()
  return child
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}

async function exitOf(child: ChildProcess): Promise<number | NodeJS.Signals> {
  if (!hasEnded(child)) await once(child, 'exit')
  return child.exitCode ?? child.signalCode ?? 0
}

async function end(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return
  const exited = exitOf(child)
  // Fast shutdown: connections are ended, nothing committed is lost.
  child.kill('SIGINT')
  const timer = setTimeout(() => child.kill('SIGKILL'), stopMs)
  await exited
  clearTimeout(timer)
}
