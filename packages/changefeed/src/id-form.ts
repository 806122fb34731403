import type { IdForm } from './rule.ts'

/**
 * The spelling of an id that a change of its row has. A request under another spelling gets the same row, but another topic, which no
 * change ever reaches.
 *
 * @returns the text itself where it is canonical, or is not a value of this type; `null` where no spelling can be called canonical.
 */
export function canonicalId(form: IdForm, text: string): string | null {
  switch (form.kind) {
    case 'integer':
      return /^\s*[+-]?\d+\s*$/.test(text) ? String(BigInt(text.trim().replace(/^\+/, ''))) : text
    case 'safeInteger':
    case 'number':
      return text.trim() === '' || Number.isNaN(Number(text)) ? text : String(Number(text))
    case 'uuid':
      return canonicalUuid(text)
    case 'boolean':
      return canonicalBoolean(text)
    case 'date':
      return canonicalDate(text)
    case 'padded':
      return text.padEnd(form.length)
    default:
      return null
  }
}

/** PostgreSQL also takes capitals, braces, and hyphens elsewhere or nowhere (manual, "UUID Type"). */
function canonicalUuid(text: string): string {
  const digits = text.replaceAll(/[{}-]/g, '').toLowerCase()
  return /^[0-9a-f]{32}$/.test(digits) ? digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-') : text
}

/** Unique prefixes count (manual, "Boolean Type"). */
function canonicalBoolean(text: string): string {
  const word = text.trim().toLowerCase()
  if (word === '') return text
  if (['true', 'yes', '1'].some((full) => full.startsWith(word)) || word === 'on') return 'true'
  if (['false', 'no', '0', 'off'].some((full) => full.startsWith(word)) && word !== 'o') return 'false'
  return text
}

function canonicalDate(text: string): string {
  const [, year = '', month = '', day = ''] = /^\s*(\d{4})-?(\d{1,2})-?(\d{1,2})\s*$/.exec(text) ?? []
  return year === '' ? text : `${year}-${month.padStart(2, '0')}-${day.padStart(2, '0')}`
}
