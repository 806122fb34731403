import { execFile } from 'node:child_process'
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { codeBlocks } from './markdown.ts'

/** Inside the project, so that examples find the packages as an application would. */
const root = fileURLToPath(new URL('../..', import.meta.url))
const fixture = fileURLToPath(new URL('fixture', import.meta.url))

/** The examples of one document as files beside the product that they name. */
export interface Examples {
  readonly folder: string
  readonly files: readonly string[]
  remove(): Promise<void>
}

/**
 * Writes each TypeScript example into a file of the name that its first line says.
 *
 * @param name of the document, for the folder.
 */
export async function writeExamples(name: string, text: string): Promise<Examples> {
  const folder = join(root, '.tmp', `documents-${name}-${process.pid}`)
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  await cp(fixture, folder, { recursive: true })
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const files: string[] = []
  for (const { language, code } of codeBlocks(text)) {
    if (language !== 'ts') continue
    const file = /^\/\/ ([\w-]+\.ts)\n/.exec(code)?.[1]
    if (file === undefined) throw new Error(`An example does not name its file in its first line:\n${code}`)
    if (files.includes(file)) throw new Error(`Two examples are called ${file}.`)
    await writeFile(join(folder, file), code)
    files.push(file)
  }
  return { folder, files, remove: () => rm(folder, { recursive: true, force: true }) }
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
    rewriteRelativeImportExtensions: false,
    lib: ['ES2023', 'DOM', 'DOM.Iterable', 'DOM.AsyncIterable'],
    types: ['node'],
  },
  include: ['*.ts'],
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
