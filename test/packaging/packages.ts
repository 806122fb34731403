import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
export const root: string = fileURLToPath(new URL('../..', import.meta.url))

/** The packages that are published. */
export const packages = ['protocol', 'changefeed', 'server', 'client', 'testkit'] as const

/** What `npm pack` says of a package. */
export interface Tarball {
  readonly name: string
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}

/** Packs all packages as they are built. @param into a folder; without one nothing is written. */
export async function pack(into?: string): Promise<Tarball[]> {
  const workspaces = packages.flatMap((name) => ['--workspace', `packages/${name}`])
  const destination = into === undefined ? ['--dry-run'] : ['--pack-destination', into]
  const { stdout } = await run('npm', ['pack', '--json', ...destination, ...workspaces], { cwd: root, maxBuffer: 1e8 })
  return JSON.parse(stdout) as Tarball[]
}
