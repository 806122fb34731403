import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { once } from 'node:events'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  clientErrorCodes,
  closeCodes,
  paths,
  setupErrorCodes,
  stages,
  wireErrorCodes,
  type EndpointHeader,
} from '@crossfade/protocol'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { typecheck, writeAllExamples, writeExamples, type Examples } from './documents/examples.ts'
import { anchors, codeBlocks, codeSpans, localLinks, section, tableRows } from './documents/markdown.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const under = (folder: string, pattern: RegExp): string[] =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => pattern.test(name) && !/(^|\/)(node_modules|dist)\//.test(name))
        .map((name) => join(folder, name))
    : []

const decisions = under('docs/decisions', /\.md$/)
const documents = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...under('docs', /\.md$/),
  ...under('packages', /\.md$/),
  ...under('apps', /\.md$/),
]
const protocol = read('PROTOCOL.md')

describe('the first example of README.md', () => {
  let examples: Examples
  let app: FastifyInstance

  beforeAll(async () => {
    examples = await writeExamples('readme', read('README.md'))
  })

  afterAll(async () => {
    await app?.close()
    vi.unstubAllGlobals()
    await examples.remove()
  })

  test('runs: a change that the feed sees reaches the page by push', async () => {
    const load = (file: string): Promise<unknown> => import(/* @vite-ignore */ join(examples.folder, file))
    ;({ app } = (await load('server.ts')) as { app: FastifyInstance })
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    vi.stubGlobal('location', { origin })
    vi.stubGlobal('WebSocket', WebSocket)
    const { screen } = (await load('order-page.ts')) as typeof import('./documents/fixture/order-page.ts')
    const { setStatus } = (await load('product.ts')) as typeof import('./documents/fixture/product.ts')

    const painted = once(screen, 'shown')
    const { page } = (await load('page.ts')) as { page: { stop(): void; state: { live: boolean } } }
    expect(await painted).toEqual([{ id: 42, status: 'new' }, 'poll'])

    await vi.waitUntil(() => page.state.live, { timeout: 30_000 })
    const pushed = once(screen, 'shown')
    await setStatus('packed')
    expect(await pushed).toEqual([{ id: 42, status: 'packed' }, 'push'])
    page.stop()
  })
})

describe('the examples of all documents', () => {
  // What one document declares for a whole product would count for the others.
  const declaring = documents.filter((path) => /^declare module /m.test(read(path)))
  const others = documents.filter((path) => !declaring.includes(path))

  test.each([['together', others] as const, ...declaring.map((path) => [path, [path]] as const)])(
    'typecheck: %s',
    async (name, paths) => {
      const examples = await writeAllExamples(name, new Map(paths.map((path) => [path, read(path)])))
      try {
        expect(examples.files.length).toBeGreaterThan(0)
        expect(await typecheck(examples)).toBe('')
      } finally {
        await examples.remove()
      }
    },
  )
})

describe('the commands in the documents', () => {
  test('are the two that README.md promises', () => {
    const lines = codeBlocks(read('README.md'))
      .filter((block) => block.language === 'sh')
      .map((block) => block.code.trim())
    expect(lines).toContain('npm install && npm start')
    expect(lines).toContain('npm install\nnpm test')
  })

  test('exist in package.json', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const named = documents.flatMap((path) => [...read(path).matchAll(/\bnpm run ([\w:-]+)/g)].map((match) => match[1]))
    expect(named.filter((name) => name !== undefined && !(name in scripts))).toEqual([])
  })
})

describe('the rules of PROTOCOL.md', () => {
  const rules = [...protocol.matchAll(/^> \*\*(R\d+)\*\* /gm)].map((match) => match[1] as string)
  const tests = [
    ...under('packages', /\/test\/.*\.ts$/),
    ...under('apps', /\/test\/.*\.ts$/),
    ...under('test', /\.ts$/),
  ]
  const cited = new Map<string, string>()
  for (const path of tests.filter((name) => !name.startsWith('test/documents'))) {
    for (const [rule] of read(path).matchAll(/\bR\d{1,2}\b/g)) cited.set(rule, path)
  }

  test('have a number each', () => {
    expect(rules.length).toBeGreaterThan(30)
    expect(new Set(rules).size).toBe(rules.length)
  })

  test('are each cited by a test', () => {
    expect(rules.filter((rule) => !cited.has(rule))).toEqual([])
  })

  test('are what the tests cite', () => {
    expect([...cited].filter(([rule]) => !rules.includes(rule))).toEqual([])
  })

  test('are what the code and the documents cite', () => {
    const others = [...under('packages', /\/src\/.*\.ts$/), ...documents]
    const unknown = others.flatMap((path) =>
      [...read(path).matchAll(/\bR\d{1,2}\b/g)]
        .filter(([rule]) => !rules.includes(rule))
        .map(([rule]) => `${path}: ${rule}`),
    )
    expect(unknown).toEqual([])
  })
})

describe('the names of the wire', () => {
  test('are the same messages in PROTOCOL.md and in the code', () => {
    const headings = [...section(protocol, '## 5. Messages').matchAll(/^### (\w+)/gm)].map((match) => match[1])
    const source = read('packages/protocol/src/messages.ts')
    const types = [...source.matchAll(/^ {2}type: '(\w+)'/gm)].map((match) => match[1])
    expect(headings).toEqual(types)
  })

  test('are the same paths', () => {
    const named = [...protocol.matchAll(/\{base\}(\/[a-z]+)/g)].map((match) => match[1] as string)
    expect([...new Set(named)].toSorted()).toEqual(Object.values(paths).toSorted())
  })

  test('are the same codes', () => {
    const rows = tableRows(section(protocol, '### Error codes'))
    expect(rows.flatMap(([cell = '']) => codeSpans(cell)).toSorted()).toEqual(wireErrorCodes.toSorted())
  })

  test('are the same close codes', () => {
    const rows = tableRows(section(protocol, '### Close codes'))
    expect(rows.map(([code]) => Number(code))).toEqual(Object.values(closeCodes))
  })

  test('are the same members of the header', () => {
    const members: Record<keyof EndpointHeader, true> = {
      topic: true,
      cursor: true,
      hash: true,
      feature: true,
      stage: true,
      percent: true,
      rest: true,
      version: true,
      every: true,
      base: true,
      kind: true,
      for: true,
    }
    const table = section(protocol, '## 3. The wrapped endpoint')
      .split('\n\n')
      .find((part) => part.startsWith('| member'))
    expect(tableRows(table ?? '').flatMap(([cell = '']) => codeSpans(cell))).toEqual(Object.keys(members))
  })

  test('are the same stages', () => {
    const rows = tableRows(section(protocol, '## 10. Stages'))
    expect(rows.flatMap(([cell = '']) => codeSpans(cell))).toEqual([...stages])
  })
})

describe('docs/errors.md', () => {
  const errors = read('docs/errors.md')
  const codesUnder = (heading: string): string[] =>
    tableRows(section(errors, heading)).flatMap(([cell = '']) => codeSpans(cell))

  test.each([
    ['## On the wire', wireErrorCodes],
    ['## Setting up', setupErrorCodes],
    ['## In the client', clientErrorCodes],
  ] as const)('lists exactly the codes "%s"', (heading, codes) => {
    expect(codesUnder(heading)).toEqual([...codes])
  })

  test('says of each code when it comes and how to solve it', () => {
    const rows = ['## On the wire', '## Setting up', '## In the client'].flatMap((heading) =>
      tableRows(section(errors, heading)),
    )
    expect(rows.filter((row) => row.length !== 3 || row.some((cell) => cell === ''))).toEqual([])
  })

  test('lists exactly the close codes', () => {
    const rows = tableRows(section(errors, '## Close codes'))
    expect(Object.fromEntries(rows.map(([code = '', name = '']) => [codeSpans(name)[0], Number(code)]))).toEqual(
      closeCodes,
    )
  })
})

describe('docs/recipes/why-no-header.md', () => {
  const page = read('docs/recipes/why-no-header.md')
  const reasons = tableRows(page.split('No `Crossfade-Skipped` either?')[0] ?? '').flatMap(([cell = '']) =>
    codeSpans(cell),
  )
  const sources = under('packages/server/src', /\.ts$/).map(read)
  // As they begin: what follows is the request's own.
  const inCode = sources.flatMap((source) => [
    ...[...source.matchAll(/skipped: ['`](.+?)(?:\$\{|'(?=,| |\n)|`)/g)].map((match) => match[1] ?? ''),
    ...[...source.matchAll(/'(This process stands by [^']+)'/g)].map((match) => match[1] ?? ''),
  ])

  test('has a row for each reason that an answer is no topic', () => {
    expect(inCode.length).toBeGreaterThan(15)
    const known = (reason: string): boolean => {
      const begin = reason.replace(/["\s]+$/, '').slice(0, 50)
      return reasons.some((span) => span.startsWith(begin))
    }
    expect(inCode.filter((reason) => !known(reason))).toEqual([])
  })

  test('names no reason that is gone', () => {
    const begins = inCode.map((reason) => reason.replace(/["\s]+$/, '').slice(0, 50))
    expect(reasons.filter((span) => !begins.some((begin) => span.startsWith(begin)))).toEqual([])
  })
})

test.each(documents)('the links of %s lead somewhere', (path) => {
  const broken = localLinks(read(path)).filter((link) => {
    const [target = '', anchor] = link.split('#')
    const file = target === '' ? path : relative(root, join(root, dirname(path), target))
    if (!existsSync(join(root, file))) return true
    if (anchor === undefined || statSync(join(root, file)).isDirectory()) return false
    return !anchors(read(file)).has(anchor)
  })
  expect(broken).toEqual([])
})

describe('the decisions', () => {
  test('are numbered without a gap', () => {
    const numbers = decisions.map((path) => Number(/(\d{4})-[a-z0-9-]+\.md$/.exec(path)?.[1])).toSorted((a, b) => a - b)
    expect(numbers).toEqual(numbers.map((_, index) => index + 1))
  })

  test.each(decisions)('%s has its parts in fewer than 60 lines', (path) => {
    const text = read(path)
    expect(text.split('\n').length).toBeLessThan(60)
    expect(text).toMatch(/^# \d{4} – .+\n\nDate: \d{4}-\d\d-\d\d · Status: \w+/)
    expect([...text.matchAll(/^## (.+)$/gm)].map((match) => match[1])).toEqual(['Context', 'Decision', 'Consequences'])
  })
})
