import type { TypeDecoder } from './row-reader.ts'

/** Types whose text is kept: times lose microseconds as a Date, and rules decode them by the column's declared type. */
const keptAsText = new Set([1082, 1083, 1114, 1184, 1266, 1186, 1115, 1182, 1185])

/** Decodes column values as pg does for queries, except that times stay text. int8 and numeric are text there, too: no digit is lost. */
export function typeDecoder(pg: { types: { getTypeParser(oid: number, format: 'text'): unknown } }): TypeDecoder {
  const decoders = new Map<number, (text: string) => unknown>()
  return (oid, text) => {
    if (keptAsText.has(oid)) return text
    let decode = decoders.get(oid)
    if (decode === undefined) {
      decode = pg.types.getTypeParser(oid, 'text') as (text: string) => unknown
      decoders.set(oid, decode)
    }
    return decode(text)
  }
}
