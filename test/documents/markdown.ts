/** A fenced block of code. */
export interface CodeBlock {
  readonly language: string
  readonly code: string
}

const fence = /^```(\w*)\n([\s\S]*?)^```$/gm

export function codeBlocks(text: string): CodeBlock[] {
  return [...text.matchAll(fence)].map((match) => ({ language: match[1] ?? '', code: match[2] ?? '' }))
}

/** The part below a heading, up to the next one of its level or above. */
export function section(text: string, heading: string): string {
  const level = /^#+/.exec(heading)?.[0].length ?? 0
  const from = text.indexOf(`\n${heading}\n`)
  if (from < 0) throw new Error(`There is no heading "${heading}".`)
  const body = text.slice(from + heading.length + 2)
  const end = body.search(new RegExp(`^#{1,${level}} `, 'm'))
  return end < 0 ? body : body.slice(0, end)
}

/** The cells of a table's rows, without its head. */
export function tableRows(text: string): string[][] {
  const lines = text.split('\n').filter((line) => line.startsWith('|'))
  return lines.slice(2).map((line) =>
    line
      .slice(1, line.lastIndexOf('|'))
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim()),
  )
}

/** What stands between backticks. */
export const codeSpans = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '')

/** The anchors that a document offers, as GitHub makes them of headings. */
export function anchors(text: string): Set<string> {
  const headings = [...withoutCode(text).matchAll(/^#+ (.+)$/gm)].map((match) => match[1] ?? '')
  return new Set(headings.map(slug))
}

function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(/\s/g, '-')
}

/** Targets of links that lead into the project: `path`, `path#anchor`, `#anchor`. */
export function localLinks(text: string): string[] {
  const prose = withoutCode(text).replaceAll(/`[^`\n]+`/g, 'code')
  const inline = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '')
  const references = [...prose.matchAll(/^\[[^\]]+\]: (\S+)$/gm)].map((match) => match[1] ?? '')
  return [...inline, ...references].filter((target) => !/^[a-z]+:/.test(target))
}

const withoutCode = (text: string): string => text.replaceAll(fence, '')
