import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Check } from './checks.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const patches = join(root, 'test/mutants')
/** Inside the project, so that the copies find the installed packages above them. */
const copies = [1, 2, 3, 4, 5].map((n) => `.tmp/mutant-${n}`)
const timeoutMs = 300_000
/** What never comes is red sooner than in the ordinary run, where a busy machine may take a minute. */
const patience = ['--testTimeout=20000', '--hookTimeout=60000']

/** One protection taken away, and the tests that must notice. */
interface Mutant {
  readonly name: string
  readonly file: string
  readonly removes: string
  /** Arguments of vitest that run the tests which must turn red. */
  readonly tests: readonly string[]
}

interface Outcome {
  readonly passed: number
  readonly failed: readonly string[]
  /** Why no test ran at all. */
  readonly broken: string | null
}

/** Applies each patch of test/mutants to a copy of the project and shows which test turns red. A mutant that survives is a violation. */
export const mutants: Check = {
  name: 'mutants',
  usage: '[NAME…]',
  about:
    'Takes one protection away at a time, in a copy, and shows which test turns red. All of test/mutants, or those whose names hold NAME.',
  async run(names) {
    const chosen = (await readMutants()).filter(
      (mutant) => names.length === 0 || names.some((name) => mutant.name.includes(name)),
    )
    if (chosen.length === 0) throw new Error(`No mutant of test/mutants has a name that holds ${names.join(' or ')}.`)
    await Promise.all(copies.map(makeCopy))
    let survivors = await unmutated(chosen)
    let done = 0
    await inEachCopy(chosen, async (mutant, copy) => {
      const verdict = await kill(mutant, copy)
      if (!verdict.isRed) survivors += 1
      console.log(`[${(done += 1)}/${chosen.length}] ${mutant.name}: ${mutant.removes}\n    ${verdict.text}`)
    })
    await Promise.all(copies.map((copy) => rm(join(root, copy), { recursive: true, force: true })))
    return survivors
  },
}

/** Takes the items one after another in each copy, as many at once as there are copies. */
async function inEachCopy<T>(items: readonly T[], task: (item: T, copy: string) => Promise<void>): Promise<void> {
  const left = [...items]
  await Promise.all(
    copies.map(async (copy) => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await task(item, copy)
    }),
  )
}

async function readMutants(): Promise<Mutant[]> {
  const files = (await readdir(patches)).filter((file) => file.endsWith('.patch')).toSorted()
  return Promise.all(files.map(readMutant))
}

/** The head of a patch says `Removes: …` and `Red: …`. */
async function readMutant(file: string): Promise<Mutant> {
  const text = await readFile(join(patches, file), 'utf8')
  const field = (name: string): string => {
    const match = new RegExp(`^${name}: (.+)$`, 'm').exec(text)
    if (match?.[1] === undefined) throw new Error(`${file} has no line "${name}: …" above the patch.`)
    return match[1]
  }
  return {
    name: file.replace('.patch', ''),
    file: join(patches, file),
    removes: field('Removes'),
    tests: field('Red').split(' '),
  }
}

async function makeCopy(place: string): Promise<void> {
  const copy = join(root, place)
  await rm(copy, { recursive: true, force: true })
  const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    maxBuffer: 1e8,
  })
  for (const path of stdout.split('\0').filter((name) => name !== '')) {
    await mkdir(dirname(join(copy, path)), { recursive: true })
    await cp(join(root, path), join(copy, path)).catch(() => {})
  }
  // The packages of the copy see each other, not those of the project.
  await mkdir(join(copy, 'node_modules/@crossfade'), { recursive: true })
  for (const folder of ['packages', 'apps']) {
    for (const name of await readdir(join(copy, folder))) {
      await symlink(join(copy, folder, name), join(copy, 'node_modules/@crossfade', name))
      // Where npm could not put a dependency at the top.
      const own = join(root, folder, name, 'node_modules')
      if (existsSync(own)) await symlink(own, join(copy, folder, name, 'node_modules'))
    }
  }
}

/** A test that is red without any mutant proves nothing. */
async function unmutated(chosen: readonly Mutant[]): Promise<number> {
  let broken = 0
  await inEachCopy([...new Set(chosen.map((mutant) => mutant.tests.join(' ')))], async (tests, copy) => {
    const outcome = await runTests(copy, tests.split(' '))
    if (outcome.broken === null && outcome.failed.length === 0 && outcome.passed > 0) return
    broken += 1
    console.log(
      `Without any mutant, "${tests}" is not green: ${outcome.broken ?? (outcome.failed.join('; ') || 'no test ran')}`,
    )
  })
  return broken
}

/** Whether a test turned red, and which, or why none could. */
async function kill(mutant: Mutant, copy: string): Promise<{ isRed: boolean; text: string }> {
  // One line of context says where it belongs: what changes around it does not matter.
  const apply = ['apply', '-C1', '--whitespace=nowarn', `--directory=${copy}`]
  try {
    await run('git', [...apply, mutant.file], { cwd: root })
  } catch (error) {
    return {
      isRed: false,
      text: `SURVIVED: it does not apply any more: ${(error as { stderr: string }).stderr.trim()}`,
    }
  }
  try {
    // The first red test is enough.
    const { failed, broken } = await runTests(copy, ['--bail=1', ...mutant.tests])
    if (broken !== null) return { isRed: false, text: `SURVIVED: no test ran: ${broken}` }
    if (failed.length === 0) return { isRed: false, text: 'SURVIVED' }
    return { isRed: true, text: `red: ${failed[0]}${failed.length > 1 ? ` (and ${failed.length - 1} more)` : ''}` }
  } finally {
    await run('git', [...apply, '-R', mutant.file], { cwd: root })
  }
}

interface Report {
  numPassedTests: number
  testResults: { message?: string; assertionResults: { status: string; fullName: string }[] }[]
}

async function runTests(copy: string, args: readonly string[]): Promise<Outcome> {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const output = await run(process.execPath, [vitest, 'run', '--reporter=json', ...patience, ...args], {
    cwd: join(root, copy),
    timeout: timeoutMs,
    maxBuffer: 1e8,
  }).catch((error: { stdout?: string }) => ({ stdout: error.stdout ?? '' }))
  const json = output.stdout.slice(output.stdout.indexOf('{"'))
  try {
    const report = JSON.parse(json) as Report
    const failed = report.testResults.flatMap((file) =>
      file.assertionResults.filter((test) => test.status === 'failed').map((test) => test.fullName),
    )
    const crash = report.testResults.find((file) => file.assertionResults.length === 0)?.message
    return { passed: report.numPassedTests, failed, broken: failed.length === 0 && crash !== undefined ? crash : null }
  } catch {
    return { passed: 0, failed: [], broken: `vitest gave no report: ${output.stdout.slice(-300)}` }
  }
}
