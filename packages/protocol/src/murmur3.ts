const c1 = 0xcc9e2d51
const c2 = 0x1b873593

/**
 * MurmurHash3 x86 32 bit (Austin Appleby, public domain), for detecting change and choosing buckets; not for security.
 *
 * @param bytes what is hashed.
 * @param seed 32 bits.
 * @returns an unsigned 32-bit number.
 */
export function murmur3(bytes: Uint8Array, seed: number): number {
  return murmur3Pair(bytes, bytes.length, seed, seed)[0]
}

/**
 * Two MurmurHash3 of the same bytes in one pass: the words are mixed once, as their mixing does not depend on the seed.
 *
 * @param length how many of `bytes` count, from the first.
 */
export function murmur3Pair(bytes: Uint8Array, length: number, seedA: number, seedB: number): [number, number] {
  const wordsEnd = length & ~3
  let a = seedA | 0
  let b = seedB | 0
  for (let at = 0; at < wordsEnd; at += 4) {
    const word = mix(at4(bytes, at))
    a = stir(a, word)
    b = stir(b, word)
  }
  if (wordsEnd < length) {
    const tail = mix(tailOf(bytes, wordsEnd, length))
    a ^= tail
    b ^= tail
  }
  return [finish(a ^ length), finish(b ^ length)]
}

function at4(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  )
}

function tailOf(bytes: Uint8Array, from: number, end: number): number {
  let word = 0
  for (let at = end - 1; at >= from; at -= 1) word = (word << 8) | (bytes[at] as number)
  return word
}

function mix(word: number): number {
  const product = Math.imul(word, c1)
  return Math.imul((product << 15) | (product >>> 17), c2)
}

function stir(hash: number, word: number): number {
  const mixed = hash ^ word
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0
}

function finish(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
