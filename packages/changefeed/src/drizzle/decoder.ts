import type { Column } from 'drizzle-orm'

/** Turns what a feed sends of a column into the type that Drizzle infers for it. */
export type Decoder = (value: unknown) => unknown

/**
 * Decodes by the column's declared type. Feeds send what JavaScript numbers cannot hold, and times, as text; `bigint`, `numeric`,
 * dates and their arrays become what the column's `mode` says.
 */
export function decoderOf(column: Column): Decoder {
  const { baseColumn } = column as { baseColumn?: Column }
  const decode = scalarDecoder(baseColumn ?? column)
  const type: string = column.dataType
  // A JSON column may hold an array of its own.
  if (type.includes('json') || type === 'custom') return decode
  return function decodeAny(value): unknown {
    if (value === null) return null
    return Array.isArray(value) ? value.map(decodeAny) : decode(value)
  }
}

function scalarDecoder(column: Column): Decoder {
  // The name grew a second word in Drizzle 1: "number int32", "object date".
  const type: string = column.dataType
  if (type === 'custom') return (value) => column.mapFromDriverValue(value)
  if (type === 'date' || type === 'object date') return (value) => (typeof value === 'string' ? dateOf(value) : value)
  if (type.startsWith('bigint')) return (value) => BigInt(value as string)
  if (type.startsWith('number')) return Number
  return (value) => value
}

/** Postgres' text such as `2026-11-21 05:30:00.123456+00`, or a date alone; without an offset it is UTC. */
function dateOf(text: string): Date {
  const iso = text.replace(' ', 'T').replace(/([+-]\d{2})$/, '$1:00')
  const zoned = !iso.includes('T') || /(?:[+-]\d{2}:\d{2}|Z)$/.test(iso)
  return new Date(zoned ? iso : `${iso}Z`)
}
