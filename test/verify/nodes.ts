import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Check } from './checks.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const majors = ['22', '24', '26']

/** Runs the quick part of the suite on the newer Node versions; the npm package `node` carries them. */
export const nodes: Check = {
  name: 'nodes',
  usage: '[MAJOR…]',
  about: `Runs the unit tests on Node ${majors.join(', ')}, or on the versions named. The ordinary tests run on the Node that runs them.`,
  async run(args) {
    let failed = 0
    for (const major of args.length === 0 ? majors : args) {
      const node = await install(major)
      const { stdout: version } = await run(node, ['--version'])
      const green = await unitTests(node)
      if (!green) failed += 1
      console.log(`${version.trim()}: ${green ? 'green' : 'RED'}`)
    }
    return failed
  },
}

/** @returns the program's path. */
async function install(major: string): Promise<string> {
  const folder = join(root, '.tmp', `node-${major}`)
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'package.json'), '{ "private": true }')
  await run('npm', ['install', '--no-audit', '--no-fund', `node@${major}`], { cwd: folder })
  return join(folder, 'node_modules/node/bin/node')
}

async function unitTests(node: string): Promise<boolean> {
  try {
    await run(node, [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--project', 'unit'], {
      cwd: root,
      maxBuffer: 1e8,
    })
    return true
  } catch (error) {
    console.log((error as { stdout?: string }).stdout?.split('\n').slice(-60).join('\n'))
    return false
  }
}
