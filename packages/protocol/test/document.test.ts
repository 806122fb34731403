import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  closeCodes,
  defaultBase,
  headerName,
  paths,
  skippedHeaderName,
  stages,
  staleReasons,
  subprotocol,
  wireErrorCodes,
} from '@crossfade/protocol'

const protocol = readFileSync(new URL('../../../PROTOCOL.md', import.meta.url), 'utf8')
const source = readFileSync(new URL('../src/messages.ts', import.meta.url), 'utf8')

/** The messages' headings in PROTOCOL.md, in their order, and the interface of each. */
const interfaces: Readonly<Record<string, readonly string[]>> = {
  hello: ['Hello'],
  subscribed: ['Subscribed'],
  event: ['EventMessage'],
  changed: ['Changed'],
  reset: ['Reset'],
  stale: ['Stale'],
  fresh: ['Fresh'],
  unsubscribed: ['Unsubscribed'],
  stage: ['StageMessage'],
  heartbeat: ['Heartbeat'],
  response: ['Response'],
  error: ['ErrorMessage', 'Failure'],
  bye: ['Bye'],
  'hello (client)': ['ClientHello'],
  subscribe: ['Subscribe', 'TopicPosition'],
  unsubscribe: ['Unsubscribe'],
  request: ['Request'],
  token: ['Token'],
  ping: ['Ping'],
}

describe('PROTOCOL.md', () => {
  const messages = protocol.slice(protocol.indexOf('\n## 5. '), protocol.indexOf('\n## 6. '))

  test('has one heading for each message, in the order of the types (R30)', () => {
    expect([...messages.matchAll(/^### (.+)$/gm)].map((match) => match[1])).toEqual(Object.keys(interfaces))
    const positions = Object.values(interfaces).map((names) => source.indexOf(`interface ${names[0]} `))
    expect(positions).toEqual(positions.toSorted((a, b) => a - b))
  })

  test.each(Object.entries(interfaces))('lists the fields that %s has in the code (R30)', (heading, names) => {
    const section = messages.slice(messages.indexOf(`\n### ${heading}\n`) + 1).split('\n### ')[0] as string
    const documented = [...section.matchAll(/^\| (`[^|]+`) +\|/gm)].flatMap((match) => namesIn(match[1] as string))
    expect(documented.toSorted()).toEqual(names.flatMap(fieldsOf).toSorted())
  })

  test('lists every code, path and name of the wire (R26, R31)', () => {
    const words = [
      ...wireErrorCodes.map((code) => `\`${code}\``),
      ...Object.values(closeCodes).map((code) => `| ${code} `),
      ...Object.values(paths).map((path) => `{base}${path}`),
      ...stages.map((stage) => `\`${stage}\``),
      ...staleReasons.map((reason) => `\`${reason}\``),
      subprotocol,
      headerName,
      skippedHeaderName,
      `\`${defaultBase}\``,
    ]
    expect(words.filter((word) => !protocol.includes(word))).toEqual([])
  })
})

function namesIn(cell: string): string[] {
  return [...cell.matchAll(/`(\w+\??)`/g)].map((match) => match[1] as string)
}

/** The members that an interface declares itself, `?` with the optional ones, without `type`. */
function fieldsOf(name: string): string[] {
  const body = source.slice(source.indexOf(`interface ${name} `)).split('\n}')[0] as string
  return [...body.matchAll(/^ {2}(\w+\??): /gm)].map((match) => match[1] as string).filter((field) => field !== 'type')
}
