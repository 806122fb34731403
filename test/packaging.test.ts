import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { pack, packages, root, type Tarball } from './packaging/packages.ts'

// `npm run check:packages` installs the packages into an empty project and runs README.md's example there.

let tarballs: Tarball[]
beforeAll(async () => {
  tarballs = await pack()
})

it.each(packages)('the tarball of %s has its README, the licence and its code, and nothing else', (name) => {
  const paths = tarballs.find((tarball) => tarball.name === `@crossfade/${name}`)?.files.map(({ path }) => path) ?? []
  expect(paths).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'package.json', 'src/index.ts']))
  expect(paths.filter((path) => !/^(LICENSE|README\.md|package\.json|(dist|src)\/.+)$/.test(path))).toEqual([])
})

it.each(packages)('the licence of %s is that of the project', (name) => {
  expect(readFileSync(join(root, 'packages', name, 'LICENSE'), 'utf8')).toBe(
    readFileSync(join(root, 'LICENSE'), 'utf8'),
  )
})

it.each(packages)('the README of %s says how it is installed', (name) => {
  expect(readFileSync(join(root, 'packages', name, 'README.md'), 'utf8')).toMatch(
    new RegExp(`^npm install (--save-dev )?@crossfade/${name}\\b`, 'm'),
  )
})

it.each(packages)('the comments of %s cite nothing that a reader of the package cannot have', (name) => {
  const folder = join(root, 'packages', name, 'src')
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'))
  const cited = sources.flatMap((path) =>
    readFileSync(join(folder, path), 'utf8')
      .split('\n')
      .filter((line) => /(\/\/|\*).*\b[DFC]\d{1,2}[ab]?\b/.test(line))
      .map((line) => `${path}: ${line.trim()}`),
  )
  expect(cited).toEqual([])
})
