import { execFile, spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Check } from './checks.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const majors = ['22', '24', '26']

/** The npm package that holds Node's program for this machine; the package `node` would install it by a script. */
const binaryPackage = [
  process.platform === 'darwin' && process.arch === 'arm64' ? 'node-bin' : 'node',
  process.platform === 'win32' ? 'win' : process.platform,
  process.arch,
].join('-')

/** Runs the quick part of the suite on the newer Node versions, out of npm packages. */
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
  await run('npm', ['install', '--no-package-lock', `${binaryPackage}@${major}`], { cwd: folder })
  return join(folder, 'node_modules', binaryPackage, process.platform === 'win32' ? 'bin/node.exe' : 'bin/node')
}

/** Prints what vitest says. @returns whether all tests passed. */
function unitTests(node: string): Promise<boolean> {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const tests = spawn(node, [vitest, 'run', '--project', 'unit', '--reporter=dot'], { cwd: root, stdio: 'inherit' })
  return new Promise((resolve, reject) => {
    tests.once('error', reject)
    tests.once('exit', (code) => resolve(code === 0))
  })
}
