import { parseArray } from './array-text.ts'

/** Turns the text of a value into the value. */
export type TypeDecoder = (text: string) => unknown

const json: TypeDecoder = (text) => JSON.parse(text) as unknown
const bytes: TypeDecoder = (text) => Buffer.from(text.slice(2), 'hex')
const truth: TypeDecoder = (text) => text === 't'

/** By the number of a built-in type (pg_type.dat). All others stay text: int8 and numeric, which would lose digits, and times. */
const scalars: Readonly<Record<number, TypeDecoder>> = {
  16: truth,
  17: bytes,
  21: Number,
  23: Number,
  26: Number,
  114: json,
  700: Number,
  701: Number,
  3802: json,
}

/** From the number of an array type to that of its elements. */
const elements: Readonly<Record<number, number>> = {
  199: 114,
  1000: 16,
  1001: 17,
  1003: 19,
  1005: 21,
  1007: 23,
  1009: 25,
  1014: 1042,
  1015: 1043,
  1016: 20,
  1021: 700,
  1022: 701,
  1028: 26,
  1041: 869,
  651: 650,
  1115: 1114,
  1182: 1082,
  1183: 1083,
  1185: 1184,
  1187: 1186,
  1231: 1700,
  1270: 1266,
  2951: 2950,
  3807: 3802,
}

/**
 * How a type's text is read; `null` where the text is the value, as for enums and what extensions bring. Not pg's own parsers: an
 * application may have changed them for its queries.
 */
export function decoderOf(typeOid: number): TypeDecoder | null {
  const element = elements[typeOid]
  if (element === undefined) return scalars[typeOid] ?? null
  const decode = scalars[element] ?? ((text: string) => text)
  return (text) => parseArray(text, decode)
}
