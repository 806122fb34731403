import { execFile } from 'node:child_process'
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { codeBlocks } from './markdown.ts'

/** Inside the project, so that examples find the packages as an application would. */
const root = fileURLToPath(new URL('../..', import.meta.url))
const fixture = fileURLToPath(new URL('fixture', import.meta.url))

/** Examples as files beside the product that they name. */
export interface Examples {
  readonly folder: string
  readonly files: readonly string[]
  readonly remove: () => Promise<void>
}

/**
 * Writes each TypeScript example of one document into a file of the name that its first line says.
 *
 * @param name of the document, for the folder.
 */
export async function writeExamples(name: string, text: string): Promise<Examples> {
  const { folder, remove } = await makeProject(name)
  return { folder, files: await writeInto(folder, text), remove }
}

/** Writes the examples of several documents, each into a subfolder, as one project for the compiler. */
export async function writeAllExamples(name: string, documents: ReadonlyMap<string, string>): Promise<Examples> {
  const { folder, remove } = await makeProject(`all-${name.replaceAll('/', '-')}`)
  const files: string[] = []
  for (const [path, text] of documents) {
    const subfolder = path.replaceAll('/', '-')
    const written = await writeInto(join(folder, subfolder), text)
    files.push(...written.map((file) => `${subfolder}/${file}`))
  }
  return { folder, files, remove }
}

async function makeProject(name: string): Promise<Pick<Examples, 'folder' | 'remove'>> {
  const folder = join(root, '.tmp', `documents-${name}-${process.pid}`)
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) }
}

async function writeInto(folder: string, text: string): Promise<string[]> {
  const files: string[] = []
  for (const { language, code } of codeBlocks(text)) {
    if (language !== 'ts') continue
    const file = /^\/\/ ([\w-]+(?:\.test)?\.ts)\n/.exec(code)?.[1]
    if (file === undefined) throw new Error(`An example does not name its file in its first line:\n${code}`)
    if (files.includes(file)) throw new Error(`Two examples are called ${file}.`)
    if (files.length === 0) await cp(fixture, folder, { recursive: true })
    await writeFile(join(folder, file), code)
    files.push(file)
  }
  return files
}

const config = {
  extends: '../../tsconfig.base.json',
  compilerOptions: {
    noEmit: true,
    composite: false,
    declaration: false,
    declarationMap: false,
    isolatedDeclarations: false,
    allowImportingTsExtensions: true,
    // NestJS has decorators on parameters, which only the older form knows.
    experimentalDecorators: true,
    rewriteRelativeImportExtensions: false,
    lib: ['ES2023', 'DOM', 'DOM.Iterable', 'DOM.AsyncIterable'],
    types: ['node'],
  },
  include: ['**/*.ts'],
}

/** @returns what the compiler says; empty when the examples are right. */
export function typecheck({ folder }: Examples): Promise<string> {
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
  return new Promise((resolve) => {
    execFile(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], (error, stdout, stderr) => {
      resolve(error === null ? '' : stdout + stderr)
    })
  })
}
