import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { runInEmptyProject } from './empty-project.ts'
import { packages, root } from './packages.ts'

const run = promisify(execFile)

/** Runs one of the workspace's tools; its output is shown only when it fails. */
async function tool(name: string, args: readonly string[], cwd: string): Promise<string | null> {
  try {
    await run(process.execPath, [binOf(name), ...args], { cwd })
    return null
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string }
    return `${stdout ?? ''}${stderr ?? ''}`
  }
}

function binOf(name: string): string {
  const { bin } = JSON.parse(readFileSync(`${root}node_modules/${name}/package.json`, 'utf8')) as {
    bin: string | Record<string, string>
  }
  const path = typeof bin === 'string' ? bin : Object.values(bin)[0]
  return `${root}node_modules/${name}/${path}`
}

let failed = 0
async function check(what: string, outcome: Promise<string | null>): Promise<void> {
  const problem = await outcome
  console.log(`${problem === null ? 'ok    ' : 'FAILED'} ${what}`)
  if (problem === null) return
  failed += 1
  console.log(problem)
}

/** What was built before, of sources that are gone, must not be packed. */
async function buildAnew(): Promise<string | null> {
  await Promise.all(packages.map((name) => rm(join(root, 'packages', name, 'dist'), { recursive: true, force: true })))
  return tool('typescript', ['-b', '--force', ...packages.map((name) => `packages/${name}`)], root)
}

await check('build', buildAnew())
for (const name of packages) {
  const cwd = `${root}packages/${name}`
  await check(`publint ${name}`, tool('publint', ['--strict'], cwd))
  await check(
    `types of ${name} as consumers see them`,
    tool('@arethetypeswrong/cli', ['--pack', '.', '--profile', 'esm-only'], cwd),
  )
}
await check('size of the client', tool('size-limit', [], root))
await check(
  'the example of README.md in an empty project, from the packed packages',
  runInEmptyProject().then(() => null, String),
)
process.exit(failed === 0 ? 0 : 1)
