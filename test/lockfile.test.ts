import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

interface LockedPackage {
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly hasInstallScript?: boolean
  readonly libc?: readonly string[]
}

const root = new URL('../', import.meta.url)
const read = (name: string): unknown => JSON.parse(readFileSync(new URL(name, root), 'utf8'))
const { packages } = read('package-lock.json') as { packages: Record<string, LockedPackage> }
const { allowScripts } = read('package.json') as { allowScripts: Record<string, boolean> }

/** Where a dependency of the package at `path` is found: beside it, or in a folder above. */
function locate(path: string, dependency: string): string | undefined {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    const candidate = `${at === '' ? '' : `${at}/`}node_modules/${dependency}`
    if (candidate in packages) return candidate
    if (at === '') return undefined
  }
}

it('holds the bindings of every platform, so that no install changes it', () => {
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter((name) => locate(path, name) === undefined),
  )
  expect(missing).toEqual([])
})

it('says nothing of the C library, which npm 10 would remove: run `npx npm@10 install` after adding a package', () => {
  const withLibc = Object.entries(packages).flatMap(([path, { libc }]) => (libc === undefined ? [] : [path]))
  expect(withLibc).toEqual([])
})

it('is allowed each install script by name, and no other', () => {
  const withScript = Object.entries(packages).flatMap(([path, { hasInstallScript }]) =>
    hasInstallScript === true ? [path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)] : [],
  )
  expect(Object.keys(allowScripts).toSorted()).toEqual([...new Set(withScript)].toSorted())
})
