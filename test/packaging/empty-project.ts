import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startEmbeddedPostgres } from '@crossfade/testkit/embedded-postgres'
import { codeBlocks } from '../documents/markdown.ts'
import { pack, packages, root } from './packages.ts'

const run = promisify(execFile)
const product = fileURLToPath(new URL('product', import.meta.url))
const page = fileURLToPath(new URL('../documents/fixture/order-page.ts', import.meta.url))
/** The examples of README.md that the product is made of. */
const examples = ['server.ts', 'page.ts', 'feed.ts']
const minuteMs = 60_000

/**
 * Installs the packed packages into an empty project outside of this one, compiles README.md's example and those of the
 * packages there with the strictest settings, and runs README.md's on plain `node` and a real PostgreSQL.
 *
 * @throws what npm, the compiler or the example said.
 */
export async function runInEmptyProject(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'crossfade-empty-project-'))
  try {
    await install(folder)
    await writeProduct(folder)
    await step(folder, process.execPath, ['node_modules/typescript/bin/tsc', '--pretty', 'false'])
    const postgres = await startEmbeddedPostgres({ flags: ['-c', 'wal_level=logical'] })
    try {
      await step(folder, process.execPath, ['out/run.js'], { DATABASE_URL: postgres.url })
    } finally {
      await postgres.stop()
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function install(folder: string): Promise<void> {
  await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  const ours = (await pack(folder)).map(({ filename }) => `./${filename}`)
  const others = ['fastify', 'drizzle-orm', 'pg', 'ws', 'typescript', '@types/node', '@types/pg', '@types/ws']
  const versions = await Promise.all(others.map(async (name) => `${name}@${await versionOf(name)}`))
  await step(folder, 'npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', ...ours, ...versions])
}

/** The version that this project has. */
async function versionOf(name: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(root, 'node_modules', name, 'package.json'), 'utf8')) as {
    version: string
  }
  return version
}

async function writeProduct(folder: string): Promise<void> {
  await cp(product, folder, { recursive: true })
  await cp(page, join(folder, 'order-page.ts'))
  const blocks = codeBlocks(await readFile(join(root, 'README.md'), 'utf8'))
  for (const name of examples) {
    const block = blocks.find(({ code }) => code.startsWith(`// ${name}\n`))
    if (block === undefined) throw new Error(`README.md has no example ${name}.`)
    await writeFile(join(folder, name), block.code)
  }
  for (const name of packages) {
    const [block] = codeBlocks(await readFile(join(root, 'packages', name, 'README.md'), 'utf8')).filter(
      ({ language }) => language === 'ts',
    )
    if (block !== undefined) await writeFile(join(folder, `minimal-${name}.ts`), block.code)
  }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
}

const compilerOptions = {
  target: 'ES2023',
  lib: ['ES2023', 'DOM', 'DOM.Iterable', 'DOM.AsyncIterable'],
  module: 'NodeNext',
  types: ['node'],
  outDir: 'out',
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: true,
  rewriteRelativeImportExtensions: true,
  // drizzle-orm declares databases that are not installed.
  skipLibCheck: true,
}

async function step(
  cwd: string,
  program: string,
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<void> {
  try {
    await run(program, args, { cwd, env: { ...process.env, ...environment }, timeout: 3 * minuteMs, maxBuffer: 1e8 })
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as { stdout?: string; stderr?: string; message: string }
    throw new Error([message, stdout, stderr].join('\n'), { cause: error })
  }
}
