import { CrossfadeError } from './errors.ts'

/** What a cursor says: the last event that its holder has applied. */
export interface CursorParts {
  /** 12 characters `[a-z0-9]`: the identity of one broker's unbroken memory. Opaque. */
  epoch: string
  /** Position in the topic, 0 to 999,999,999,999. Compared only within one epoch. */
  offset: number
}

// Web Crypto is in browsers and in Node alike, but not in the language's own types.
declare const crypto: { getRandomValues(array: Uint8Array): Uint8Array }

const cursorPattern = /^([a-z0-9]{12})_(\d{12})$/
const epochPattern = /^[a-z0-9]{12}$/
const maxOffset = 999_999_999_999
const epochLetters = 'abcdefghijklmnopqrstuvwxyz0123456789'

/**
 * Writes a cursor: `<epoch>_<offset>`, the offset as 12 decimal digits, such as `k3v9q2m1x8ab_000000000041` (PROTOCOL §1).
 *
 * @throws CrossfadeError `invalid_cursor` when the epoch or the offset is not well formed.
 */
export function formatCursor(epoch: string, offset: number): string {
  if (!epochPattern.test(epoch)) {
    throw new CrossfadeError(
      'invalid_cursor',
      `${quote(epoch)} is not an epoch. An epoch is 12 characters a-z and 0-9.`,
    )
  }
  if (!Number.isInteger(offset) || offset < 0 || offset > maxOffset) {
    throw new CrossfadeError('invalid_cursor', `${String(offset)} is not an offset. An offset is 0 to ${maxOffset}.`)
  }
  return `${epoch}_${String(offset).padStart(12, '0')}`
}

/**
 * Reads a cursor.
 *
 * @throws CrossfadeError `invalid_cursor` when the text is not a cursor at all (R4).
 */
export function parseCursor(text: string): CursorParts {
  const match = typeof text === 'string' ? cursorPattern.exec(text) : null
  if (!match) {
    throw new CrossfadeError(
      'invalid_cursor',
      `${quote(text)} is not a cursor. Send a cursor back as you got it, or send none.`,
    )
  }
  return { epoch: match[1] as string, offset: Number(match[2]) }
}

/** Whether a cursor is at or before another one. Cursors of two epochs are not: nobody can say which is first. */
export function isUpTo(cursor: string, last: string): boolean {
  const a = parseCursor(cursor)
  const b = parseCursor(last)
  return a.epoch === b.epoch && a.offset <= b.offset
}

/**
 * Makes a new epoch of 62 random bits.
 *
 * @param randomByte gives 0 to 255. Default: the platform's cryptographic generator.
 */
export function newEpoch(randomByte: () => number = cryptoByte): string {
  let epoch = ''
  // Two bytes a letter keep the letters evenly likely (1 in 2000) without a loop that waits for a fitting byte.
  while (epoch.length < 12) epoch += epochLetters[((randomByte() << 8) | randomByte()) % epochLetters.length]
  return epoch
}

function cryptoByte(): number {
  return crypto.getRandomValues(new Uint8Array(1))[0] as number
}

function quote(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : `A ${typeof value}`
}
