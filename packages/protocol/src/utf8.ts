// The Encoding API is in browsers and in Node alike, but not in the language's own types.
declare const TextEncoder: new () => { encodeInto(text: string, into: Uint8Array): { written: number } }

const encoder = new TextEncoder()
const keptBytes = 1_048_576
let scratch: Uint8Array = new Uint8Array(4_096)

/**
 * The UTF-8 of a text in a buffer that the next call overwrites: hashing runs with every answer, and must not allocate.
 *
 * @returns the buffer and how many of its bytes count.
 */
export function utf8Scratch(text: string): { bytes: Uint8Array; length: number } {
  const needed = text.length * 3
  let bytes = scratch
  if (bytes.length < needed) {
    bytes = new Uint8Array(Math.max(needed, bytes.length * 2))
    // One huge value must not hold its memory for ever.
    if (bytes.length <= keptBytes) scratch = bytes
  }
  return { bytes, length: encoder.encodeInto(text, bytes).written }
}

/** How many bytes a text has in UTF-8. A lone surrogate counts as the 3 bytes of U+FFFD. */
export function utf8Length(text: string): number {
  return utf8Scratch(text).length
}
