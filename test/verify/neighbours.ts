import { differences } from '../neighbours/beside.ts'
import { products } from '../neighbours/products.ts'
import type { Check } from './checks.ts'

/** Everything around stays as it was (R10). */
export const neighbours: Check = {
  name: 'neighbours',
  usage: '[PACKAGE…]',
  about:
    'Runs a product with each of the packages that stand beside ours, without our plugin and with it, registered before and after the package, and compares every answer. All packages, or those whose names hold PACKAGE.',
  async run(names) {
    const chosen = products.filter(({ name }) => names.length === 0 || names.some((part) => name.includes(part)))
    let found = 0
    for (const product of chosen) {
      for (const place of ['before', 'after'] as const) {
        const wrong = await differences(product, place)
        found += wrong.length
        console.log(`${product.name}, our plugin ${place} it: ${wrong.length === 0 ? 'as without it' : 'OTHER'}`)
        for (const difference of wrong.slice(0, 20)) console.log(`    ${difference}`)
      }
    }
    return found
  },
}
