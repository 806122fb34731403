import type { Column } from 'drizzle-orm'
import type { IdForm } from '../rule.ts'

/** How the database compares this column's values; `null`: as text, byte by byte. */
export function idFormOf(column: Column): IdForm | null {
  const type = column.getSQLType().toLowerCase()
  const length = /^(?:char|character|bpchar)\s*(?:\((\d+)\))?$/.exec(type)
  if (length !== null) return { kind: 'padded', length: Number(length[1] ?? 1) }
  if (/^(?:text|varchar|character varying)\b/.test(type) || isEnum(column)) return null
  // The name grew a second word in Drizzle 1: "number int53".
  const dataType: string = column.dataType
  const isNumber = dataType.startsWith('number')
  if (/^(?:bigint|bigserial|int8)/.test(type)) return { kind: isNumber ? 'safeInteger' : 'integer' }
  if (/^(?:small|big)?(?:int|serial)/.test(type)) return { kind: 'integer' }
  if (type === 'uuid') return { kind: 'uuid' }
  if (type === 'boolean') return { kind: 'boolean' }
  if (type === 'date' && dataType.startsWith('string')) return { kind: 'date' }
  if (isNumber) return { kind: 'number' }
  return { kind: 'loose', type }
}

function isEnum(column: Column): boolean {
  return column.columnType.startsWith('PgEnum')
}
