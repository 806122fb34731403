import { checks } from './checks.ts'

const [name, ...args] = process.argv.slice(2)
const check = checks.find((candidate) => candidate.name === name)

if (check === undefined) {
  if (name !== undefined) console.error(`There is no check "${name}".\n`)
  console.log('Checks too long for CI. Run one by name: npm run verify -- NAME [options]\n')
  for (const { name: known, usage, about } of checks) console.log(`  ${known} ${usage}\n      ${about}\n`)
  process.exit(name === undefined ? 0 : 2)
}

const startedAt = performance.now()
const violations = await check.run(args)
const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
console.log(
  `\n${check.name}: ${violations === 0 ? 'held' : `${violations} violation${violations === 1 ? '' : 's'}`} after ${seconds} s`,
)
process.exit(violations === 0 ? 0 : 1)
