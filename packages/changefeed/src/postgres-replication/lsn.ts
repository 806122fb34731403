import type { Position } from '../change.ts'

/** A location in the write-ahead log, as a number of bytes. */
export type Lsn = bigint

/** Reads the form `16/B374D848`. */
export function parseLsn(text: string): Lsn {
  const [high = '0', low = '0'] = text.split('/')
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`)
}

/** A position is an LSN as 16 hex digits, so that positions compare as strings. */
export function positionOf(lsn: Lsn): Position {
  return lsn.toString(16).padStart(16, '0')
}
