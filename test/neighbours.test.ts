import { describe, expect, it } from 'vitest'
import { differences } from './neighbours/beside.ts'
import { products } from './neighbours/products.ts'

/** Both orders of registration for each: `npm run verify -- neighbours`. */
describe.concurrent('a product with our plugin answers as without it', () => {
  it.each(products.map((product, i) => [product.name, i % 2 === 0 ? 'before' : 'after', product] as const))(
    'beside %s, our plugin registered %s it (R10, D22)',
    async (_name, place, product) => {
      expect(await differences(product, place)).toEqual([])
    },
  )
})
