/** A reproducible source of randomness: the same seed, the same run. */
export interface Random {
  /** 0 ≤ x < 1. */
  next(): number
  /** A whole number from 0 to `below` - 1. */
  below(below: number): number
  /** One of the items, which must not be empty. */
  pick<T>(items: readonly T[]): T
}

/** Makes a generator (mulberry32) of a seed; print the seed wherever it is used. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (bound: number): number => Math.floor(next() * bound)
  return { next, below, pick: (items) => items[below(items.length)] as (typeof items)[number] }
}
